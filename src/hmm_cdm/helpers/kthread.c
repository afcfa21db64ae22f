// SPDX-License-Identifier: GPL-2.0

#include <linux/cgroup.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>

/*
 * Creates and wakes a kthread "@name/@nr". The caller gets a reference on the
 * task, which stays valid if @fn returns before the thread is stopped.
 *
 * With @join the thread starts in the cgroups of the caller, since
 * dmem_cgroup_try_charge() charges the cgroup of the current task and no other.
 * cgroup_attach_task_all() takes cgroup_threadgroup_rwsem for writing, which
 * every fork takes for reading, so it is left out without the dmem controller.
 */
struct task_struct *hmm_cdm_helper_kthread_run(int (*fn)(void *data), void *data,
					       const char *name, unsigned int nr,
					       bool join)
{
	struct task_struct *task = kthread_create(fn, data, "%s/%u", name, nr);
	int ret;

	if (IS_ERR(task))
		return task;
	if (join && IS_ENABLED(CONFIG_CGROUP_DMEM)) {
		ret = cgroup_attach_task_all(current, task);
		if (ret) {
			/* It has not been woken: @fn is never called. */
			kthread_stop(task);
			return ERR_PTR(ret);
		}
	}
	get_task_struct(task);
	wake_up_process(task);
	return task;
}

/*
 * A kthread ignores all signals, so nothing ends the killable waits that it may
 * be in: the mmap lock, a page fault that a userfaultfd has to answer. A thread
 * that allows SIGKILL from the kernel can be interrupted. SIGTERM ends no such
 * wait: it marks a thread that is being stopped.
 */
void hmm_cdm_helper_kthread_allow_interrupt(void)
{
	allow_kernel_signal(SIGTERM);
	allow_kernel_signal(SIGKILL);
}

void hmm_cdm_helper_kthread_interrupt(struct task_struct *task)
{
	send_sig(SIGKILL, task, 1);
}

/* Interrupts a thread for good, and waits for its end. */
void hmm_cdm_helper_kthread_stop_put(struct task_struct *task)
{
	send_sig(SIGTERM, task, 1);
	hmm_cdm_helper_kthread_interrupt(task);
	kthread_stop_put(task);
}

/*
 * Returns the current task with a reference if it is a kthread, NULL otherwise.
 * The thread can be interrupted until it calls hmm_cdm_helper_kthread_end_wait().
 * Sets @allowed if it could not be before.
 */
struct task_struct *hmm_cdm_helper_kthread_begin_wait(bool *allowed)
{
	const struct k_sigaction *action = &current->sighand->action[SIGKILL - 1];

	if (!(current->flags & PF_KTHREAD))
		return NULL;
	*allowed = action->sa.sa_handler == SIG_IGN;
	if (*allowed)
		allow_kernel_signal(SIGKILL);
	get_task_struct(current);
	return current;
}

/*
 * Discards an interrupt of this wait, so that it does not end the thread's next
 * one, but not the interrupt of hmm_cdm_helper_kthread_stop_put(). To be called
 * by @task itself: in a process, disallow_signal() would make it immune to SIGKILL.
 */
void hmm_cdm_helper_kthread_end_wait(struct task_struct *task, bool allowed,
				     bool interrupted)
{
	if (WARN_ON_ONCE(task != current)) {
		put_task_struct(task);
		return;
	}
	/* Ignoring the signal discards a pending one (kernel_sigaction()). */
	if (allowed || interrupted)
		disallow_signal(SIGKILL);
	if (interrupted && !allowed) {
		allow_kernel_signal(SIGKILL);
		if (sigismember(&current->pending.signal, SIGTERM))
			hmm_cdm_helper_kthread_interrupt(task);
	}
	put_task_struct(task);
}

bool hmm_cdm_helper_is_current(const struct task_struct *task)
{
	return task == current;
}
