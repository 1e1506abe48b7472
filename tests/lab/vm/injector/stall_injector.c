// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The injector of the VM lab: whoever reads /proc/stall_injector/stats stays in the kernel for a while with bottom halves off, so that
 * nothing that comes in on that CPU is handled meanwhile. It does this on purpose and says so: each read is a line of JSON in
 * /proc/stall_injector/truth, where a read waits for the next one.
 *
 * Parameters: length_ms, and spread_ms at random on top; a length of 0 makes the read a harmless one. They can be set at any time in
 * /sys/module/stall_injector/parameters.
 */
#include <linux/bottom_half.h>
#include <linux/kfifo.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#define LENGTH_MS_MOST 2000
#define LINE_MOST 192

static unsigned int length_ms;
module_param(length_ms, uint, 0644);
MODULE_PARM_DESC(length_ms, "how long a read of stats stays in the kernel with bottom halves off, in ms; 0 for not at all");

static unsigned int spread_ms;
module_param(spread_ms, uint, 0644);
MODULE_PARM_DESC(spread_ms, "up to so many ms more, at random");

struct stall {
	u64 start_ns, end_ns; /* of CLOCK_REALTIME */
	pid_t pid;
	char comm[TASK_COMM_LEN];
	int cpu;
};

static DEFINE_KFIFO(stalls, struct stall, 256);
static DEFINE_SPINLOCK(stalls_lock);
static DEFINE_MUTEX(truth_reader);
static DECLARE_WAIT_QUEUE_HEAD(more);
static atomic_t reads;

static noinline void stall_injector_hold(struct stall *stall, u64 length_ns)
{
	u64 end;

	local_bh_disable();
	stall->cpu = smp_processor_id();
	stall->start_ns = ktime_get_real_ns();
	end = ktime_get_ns() + length_ns;
	while (ktime_get_ns() < end)
		cpu_relax();
	stall->end_ns = ktime_get_real_ns();
	local_bh_enable();
}

static u64 wanted_ns(void)
{
	unsigned int longest = READ_ONCE(length_ms), spread = READ_ONCE(spread_ms);

	if (longest && spread)
		longest += get_random_u32() % (spread + 1);
	return (u64)min(longest, (unsigned int)LENGTH_MS_MOST) * NSEC_PER_MSEC;
}

static ssize_t stall_injector_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	struct stall stall = { .pid = task_tgid_nr(current) };
	char line[32];
	u64 length_ns = *at ? 0 : wanted_ns();

	if (length_ns) {
		get_task_comm(stall.comm, current);
		stall_injector_hold(&stall, length_ns);
		kfifo_in_spinlocked(&stalls, &stall, 1, &stalls_lock);
		wake_up_interruptible(&more);
	}
	if (!*at)
		atomic_inc(&reads);
	return simple_read_from_buffer(to, size, at, line, scnprintf(line, sizeof(line), "reads %d\n", atomic_read(&reads)));
}

static ssize_t truth_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	struct stall stall;
	char line[LINE_MOST];
	int length;

	if (mutex_lock_interruptible(&truth_reader))
		return -ERESTARTSYS;
	while (!kfifo_out_spinlocked(&stalls, &stall, 1, &stalls_lock))
		if (wait_event_interruptible(more, !kfifo_is_empty(&stalls))) {
			mutex_unlock(&truth_reader);
			return -ERESTARTSYS;
		}
	mutex_unlock(&truth_reader);
	length = scnprintf(line, sizeof(line),
			   "{\"start_ns\": %llu, \"end_ns\": %llu, \"kind\": \"stall_injector\", \"pid\": %d, \"comm\": \"%s\", \"cpu\": %d}\n",
			   stall.start_ns, stall.end_ns, stall.pid, stall.comm, stall.cpu);
	if (size < length)
		return -EINVAL;
	return copy_to_user(to, line, length) ? -EFAULT : length;
}

static const struct proc_ops stats_ops = { .proc_read = stall_injector_read, .proc_lseek = default_llseek };
static const struct proc_ops truth_ops = { .proc_read = truth_read, .proc_lseek = no_llseek };

static int __init stall_injector_init(void)
{
	struct proc_dir_entry *directory = proc_mkdir("stall_injector", NULL);

	if (directory && proc_create("stats", 0444, directory, &stats_ops) && proc_create("truth", 0400, directory, &truth_ops))
		return 0;
	remove_proc_subtree("stall_injector", NULL);
	return -ENOMEM;
}

static void __exit stall_injector_exit(void)
{
	remove_proc_subtree("stall_injector", NULL);
}

module_init(stall_injector_init);
module_exit(stall_injector_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Injector of the fleet.stall VM lab: stalls the reading CPU on purpose");
