// SPDX-License-Identifier: GPL-2.0
/*
 * The calls serve the process that opened the file, whatever its user is now,
 * and no other process that gets hold of the file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <kselftest_harness.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "cdm_calls.h"
#include "cdm_mem.h"
#include "cdm_module.h"

#define SEED			CDM_SEED(CALLER)
#define PAGES			4

/* This program's argument when it executes itself. */
#define FOREIGN			"--foreign"

FIXTURE(caller) {
	struct cdm cdm;
	char *mem;
	size_t length;
};

FIXTURE_SETUP(caller)
{
	ASSERT_EQ(0, cdm_open(&self->cdm, 0));
	self->length = PAGES * self->cdm.page;
	self->mem = cdm_map(&self->cdm, self->length);
	ASSERT_NE(NULL, self->mem);
	cdm_fill(self->mem, self->length, SEED);
}

FIXTURE_TEARDOWN(caller)
{
	munmap(self->mem, self->length);
	cdm_close(&self->cdm);
}

/* Number of valid calls that do not fail with -EPERM. */
static int not_refused(int fd)
{
	static __u64 word;
	size_t page = sysconf(_SC_PAGESIZE);
	struct cdm cdm = { .fd = fd };
	struct hmm_cdm_stats stats;
	char *mem = mmap(NULL, page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int wrong = 0;
	__u64 job;

	if (mem == MAP_FAILED)
		return 100;
	mem[0] = 1;
	wrong += cdm_info(fd, &cdm.info) != -EPERM;
	wrong += cdm_migrate(&cdm, mem, page, NODE, NULL) != -EPERM;
	wrong += cdm_migrate(&cdm, mem, page, SYSTEM, NULL) != -EPERM;
	wrong += cdm_query(&cdm, mem, page, NULL, NULL) != -EPERM;
	wrong += cdm_start_adds(&cdm, &word, 1, &job) != -EPERM;
	wrong += cdm_wait(&cdm, 1, 0, NULL) != -EPERM;
	wrong += cdm_stats(&cdm, &stats) != -EPERM;
	wrong += word != 0;
	return wrong;
}

/* Number of calls that do not work for the process that opened the file. */
static int not_served(const struct cdm *cdm)
{
	char *mem = cdm_map(cdm, cdm->page);
	struct hmm_cdm_query query = {};
	struct hmm_cdm_migrate m = {};
	struct hmm_cdm_stats before, after = {};
	int wrong = 0;

	if (!mem || cdm_stats(cdm, &before))
		return 100;
	cdm_fill(mem, cdm->page, SEED);
	wrong += cdm_migrate(cdm, mem, cdm->page, NODE, &m) || m.migrated != 1;
	wrong += cdm_query(cdm, mem, cdm->page, NULL, &query) ||
		 query.where[HMM_CDM_WHERE_NODE] != 1;
	wrong += cdm_check(mem, cdm->page, SEED) != -1;
	wrong += cdm_run_fill(cdm, mem, cdm->page, SEED, NULL) != 0;
	wrong += cdm_check_value(mem, cdm->page, SEED) != -1;
	wrong += cdm_stats(cdm, &after) ||
		 after.migrated_in != before.migrated_in + 1;
	wrong += cdm_migrate(cdm, mem, cdm->page, SYSTEM, &m) || m.migrated != 1;
	munmap(mem, cdm->page);
	return wrong;
}

TEST_F(caller, opener)
{
	EXPECT_EQ(0, not_served(&self->cdm));
}

static void *call_in_thread(void *arg)
{
	return (void *)(intptr_t)not_served(arg);
}

/* Threads share the address space. */
TEST_F(caller, thread)
{
	pthread_t thread;
	void *wrong;

	ASSERT_EQ(0, pthread_create(&thread, NULL, call_in_thread,
				    &self->cdm));
	ASSERT_EQ(0, pthread_join(thread, &wrong));
	EXPECT_EQ(NULL, wrong);
}

/* A child inherits the file and the addresses, but not the address space. */
TEST_F(caller, child)
{
	struct hmm_cdm_stats stats;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		int wrong = not_refused(self->cdm.fd);
		struct cdm own;

		wrong += cdm_migrate(&self->cdm, self->mem, self->length, NODE, NULL) != -EPERM;
		/* Its own file serves it. */
		wrong += cdm_open(&own, 0) || not_served(&own);
		_exit(wrong);
	}
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	ASSERT_EQ(0, cdm_stats(&self->cdm, &stats));
	EXPECT_EQ(0, stats.migrated_in);
	EXPECT_EQ(0, stats.jobs);
	EXPECT_EQ(0, not_served(&self->cdm));
	EXPECT_EQ(-1, cdm_check(self->mem, self->length, SEED));
}

/* exec(2) replaces the address space. */
TEST_F(caller, exec)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		struct cdm own;
		char fd[16];

		if (cdm_open(&own, 0) || not_served(&own) ||
		    fcntl(own.fd, F_SETFD, 0))
			_exit(101);
		snprintf(fd, sizeof(fd), "%d", own.fd);
		execl("/proc/self/exe", "caller", FOREIGN, fd, NULL);
		_exit(102);
	}
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
}

/* Sends @fd over @socket; with -1, receives one and returns it. */
static int pass(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = {};
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	if (fd < 0) {
		if (recvmsg(socket, &msg, 0) != 1)
			return -1;
		cmsg = CMSG_FIRSTHDR(&msg);
		if (!cmsg)
			return -1;
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
		return fd;
	}
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(socket, &msg, 0) == 1 ? 0 : -1;
}

/* Between processes that share only a socket. */
TEST_F(caller, passed)
{
	int sockets[2];
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		struct cdm own;
		int fd;

		close(sockets[0]);
		close(self->cdm.fd);
		fd = pass(sockets[1], -1);
		if (fd < 0)
			_exit(100);
		/* A mirror of its own does not help either. */
		if (cdm_open(&own, 0))
			_exit(101);
		_exit(not_refused(fd));
	}
	close(sockets[1]);
	ASSERT_EQ(0, pass(sockets[0], self->cdm.fd));
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
	EXPECT_EQ(0, not_served(&self->cdm));
}

/* Each file counts only its own calls. */
TEST_F(caller, files_of_one_process)
{
	struct hmm_cdm_stats stats;
	struct cdm other;

	ASSERT_EQ(0, cdm_open(&other, 0));
	EXPECT_EQ(0, not_served(&self->cdm));
	ASSERT_EQ(0, cdm_stats(&other, &stats));
	EXPECT_EQ(0, stats.faults);
	EXPECT_EQ(0, stats.migrated_in);
	EXPECT_EQ(0, stats.bytes_copied);
	EXPECT_EQ(0, stats.jobs);
	EXPECT_EQ(0, not_served(&other));
	cdm_close(&other);
	EXPECT_EQ(0, not_served(&self->cdm));
}

/* Becomes an ordinary user, in the device's group or in none. */
static int become_user(gid_t group)
{
	return setgroups(group ? 1 : 0, &group) ||
	       setresgid(USER, USER, USER) || setresuid(USER, USER, USER);
}

/* Only opening needs a privilege, which the group has. */
static int as_user(gid_t group)
{
	struct cdm cdm;

	if (become_user(group))
		return 101;
	if (cdm_open(&cdm, 0))
		return 102;
	/* Only root sees where the memory lies. */
	if (cdm.info.start || !cdm.info.capacity || !cdm.info.free)
		return 103;
	return not_served(&cdm);
}

TEST_F(caller, user_in_group)
{
	struct stat st;
	pid_t pid;

	ASSERT_EQ(0, fstat(self->cdm.fd, &st));
	EXPECT_EQ(0660, st.st_mode & 0777);
	EXPECT_EQ(0, st.st_uid);
	ASSERT_NE(0, st.st_gid);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(as_user(st.st_gid));
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
}

/* Whether the name of a thread has the address @mib, in MiB, as a number. */
static bool thread_named_after(unsigned long long mib)
{
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	bool found = false;

	while (proc && !found && (entry = readdir(proc))) {
		char path[300], name[64] = "", *at;
		FILE *comm;

		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		comm = fopen(path, "re");
		if (!comm)
			continue;
		if (fgets(name, sizeof(name), comm)) {
			at = strchr(name, '/');
			found = !strncmp(name, "cdm_", 4) && at &&
				strtoull(at + 1, NULL, 10) == mib;
		}
		fclose(comm);
	}
	if (proc)
		closedir(proc);
	return found;
}

/* Users learn no physical addresses from parameters and names either. */
TEST_F(caller, addresses_are_not_shown)
{
	const char *param = "/sys/module/" CDM_EMU "/parameters/region";

	EXPECT_FALSE(thread_named_after(self->cdm.info.start >> 20));
	ASSERT_EQ(0, setresuid(USER, USER, USER));
	EXPECT_EQ(-1, open(param, O_RDONLY | O_CLOEXEC));
	EXPECT_EQ(EACCES, errno);
}

TEST_F(caller, user_in_no_group)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		struct cdm cdm;

		_exit(become_user(0) || cdm_open(&cdm, 0) != -EACCES);
	}
	EXPECT_EQ(0, cdm_reap(pid, CDM_JOB_MS));
}

/* The same for a file that root has opened before. */
TEST_F(caller, privilege_dropped)
{
	struct hmm_cdm_info info;

	EXPECT_NE(0, self->cdm.info.start);
	ASSERT_EQ(0, setresuid(USER, USER, USER));
	ASSERT_EQ(0, cdm_info(self->cdm.fd, &info));
	EXPECT_EQ(0, info.start);
	EXPECT_EQ(self->cdm.info.capacity, info.capacity);
	EXPECT_EQ(0, not_served(&self->cdm));
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], FOREIGN))
		return not_refused(atoi(argv[2]));
	return test_harness_run(argc, argv);
}
