/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Wrappers that the linker leads to node.c, __wrap_<name>, and the calls behind
 * them, __real_<name>. The Makefile has the same list.
 */
#ifndef NODE_H
#define NODE_H

#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

pid_t __real_fork(void);
int __real_madvise(void *addr, size_t length, int advice);
int __real_mlock(const void *addr, size_t length);
int __real_mlock2(const void *addr, size_t length, unsigned int flags);
int __real_mlockall(int flags);
int __real_mprotect(void *addr, size_t length, int prot);
int __real_munlock(const void *addr, size_t length);
int __real_munlockall(void);
int __real_munmap(void *addr, size_t length);
ssize_t __real_process_madvise(int pidfd, const struct iovec *iov, size_t count, int advice,
			       unsigned int flags);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
ssize_t __real_vmsplice(int fd, const struct iovec *iov, size_t count, unsigned int flags);
int __real_ioctl(int fd, unsigned long request, ...);
void *__real_mremap(void *addr, size_t old, size_t new, int flags, ...);
long __real_syscall(long number, ...);

pid_t __wrap_fork(void);
int __wrap_madvise(void *addr, size_t length, int advice);
int __wrap_mlock(const void *addr, size_t length);
int __wrap_mlock2(const void *addr, size_t length, unsigned int flags);
int __wrap_mlockall(int flags);
int __wrap_mprotect(void *addr, size_t length, int prot);
int __wrap_munlock(const void *addr, size_t length);
int __wrap_munlockall(void);
int __wrap_munmap(void *addr, size_t length);
ssize_t __wrap_process_madvise(int pidfd, const struct iovec *iov, size_t count, int advice,
			       unsigned int flags);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
ssize_t __wrap_vmsplice(int fd, const struct iovec *iov, size_t count, unsigned int flags);
int __wrap_ioctl(int fd, unsigned long request, ...);
void *__wrap_mremap(void *addr, size_t old, size_t new, int flags, ...);
long __wrap_syscall(long number, ...);
long __wrap_move_pages(int pid, unsigned long count, void **pages, const int *nodes, int *status,
		       int flags);

#endif /* NODE_H */
