// SPDX-License-Identifier: GPL-2.0
/* Ordinary memory, filled by the CPU, moved to the node, added up there. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <linux/hmm_cdm.h>

int main(void)
{
	const size_t count = 1 << 20, length = count * sizeof(__u64);
	unsigned long long *numbers = aligned_alloc(65536, length), sum = 0;
	int cdm = open("/dev/hmm_cdm0", O_RDWR | O_CLOEXEC);
	struct hmm_cdm_migrate move = { .size = sizeof(move), .length = length };
	struct hmm_cdm_submit job = { .size = sizeof(job), .op = CDM_EMU_REDUCE };
	struct hmm_cdm_wait done = { .size = sizeof(done), .timeout_ns = -1 };

	if (cdm < 0 || !numbers)
		err(1, "/dev/hmm_cdm0");
	for (size_t i = 0; i < count; i++)
		sum += numbers[i] = i * i;

	move.addr = (size_t)numbers;
	job.args[0] = (size_t)numbers;	/* the same pointer for both sides */
	job.args[1] = count;
	if (ioctl(cdm, HMM_CDM_IOC_MIGRATE, &move) || ioctl(cdm, HMM_CDM_IOC_SUBMIT, &job))
		err(1, "migrate, submit");
	done.job = job.job;
	if (ioctl(cdm, HMM_CDM_IOC_WAIT, &done) || done.status)
		err(1, "wait");
	printf("moved %d pages; the device's sum is %s the CPU's, %llu\n", (int)move.migrated,
	       done.result[0] == sum ? "equal to" : "NOT", sum);
	return done.result[0] != sum;
}
