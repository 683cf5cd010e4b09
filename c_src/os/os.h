#ifndef PC_OS_H
#define PC_OS_H

/*
 * Calls that only Linux has. os_linux.c implements them; os_portable.c is the twin for other systems, where the
 * promise about daemons is weaker. All return 0 (or what is said) or -errno.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- Async-signal-safe, without allocation: may run between fork and exec. */

/* Have the kernel send `signal` to this process when the *thread* that forked it goes; -errno. */
int pc_os_set_parent_death_signal(int signal);

/* Orphaned descendants become children of this process. */
int pc_os_become_subreaper(void);

/* A descriptor (close-on-exec) that names the process whatever happens to its pid. */
int pc_os_pidfd_open(pid_t pid);
int pc_os_pidfd_signal(int pidfd, int signal);

/* 1 if the process is a child of this one (a zombie too), 0 if it is not. */
int pc_os_pidfd_is_child(int pidfd);

/* Makes this process a better candidate for the out-of-memory killer by `adjustment` (0..1000). */
int pc_os_raise_oom_score(int adjustment);

/*
 * Bytes that this process has for itself: private pages, clean and dirty, and its share of what was swapped out. Takes about 10 ms for
 * each GiB.
 */
int pc_os_private_memory(uint64_t *bytes);

/* Who is at the other end of a unix socket. */
int pc_os_peer(int socket, pid_t *pid, uid_t *uid, gid_t *gid);

/* A process that is forked from now on does not have these pages: touching them there is a fault. */
int pc_os_keep_from_children(void *pages, size_t n);

/*
 * Memory of zeros for two processes, whose size nobody can change any more, so that reading it is safe whoever else has it: a
 * descriptor (close-on-exec) to be mapped.
 */
int pc_os_shared_memory(size_t size);

/*
 * Memory of zeros that this process writes and others read: nobody can change its size or map it writable any more. A descriptor (close-on-exec)
 * for the others; *memory is the mapping of this process, which its children do not have. All pages are there already, so that using them is no
 * SIGBUS where the system has no more.
 */
int pc_os_written_memory(size_t size, void **memory);

/* 0: a descriptor that came from somewhere is memory of that size, which nobody can change any more. -EINVAL: it is something else. */
int pc_os_check_shared_memory(int fd, size_t size);

/* The same, and nobody can map it writable any more, and reading it is no SIGBUS: all its pages are there, and nobody can take them away. */
int pc_os_check_written_memory(int fd, size_t size);

/*
 * A private, writable mapping of such memory: what was written there is lost, and the memory is seen again. Where the system does not tell which
 * pages were written to, all are taken out of the mapping, which costs a fault for each that is used again.
 */
int pc_os_drop_copies(void *memory, size_t size);

/* A descriptor (close-on-exec) that becomes readable when it rings. */
int pc_os_alarm(void);

/* It rings in so many milliseconds, 0: not at all, and not before. Fails on anything else, and leaves that alone. */
int pc_os_alarm_set(int alarm, int milliseconds);

/* ---- These may allocate. */

/* The stack of the calling thread: its lowest address, and how large it may grow. */
int pc_os_stack(void **lowest, size_t *size);

/*
 * Takes out of this process what it has mapped of files and nobody can have changed: code and read-only data. They are still in the system's
 * cache, and a page that is used again is a fault. Where no other thread runs.
 */
int pc_os_leave_file_pages(void);

/* ---- Looking at processes. These may allocate. */

/* Called with each pid; return false to stop. */
typedef bool (*pc_os_pid_fn)(pid_t pid, void *context);

/* Every child of the calling thread, zombies too. Between two waits those pids cannot be reused. */
int pc_os_each_child(pc_os_pid_fn visit, void *context);

/* Every process that can be seen. What a pid names may have changed before `visit` looks at it. */
int pc_os_each_process(pc_os_pid_fn visit, void *context);

/* The effective user of a process. */
int pc_os_process_uid(pid_t pid, uid_t *uid);

/* Of a process: bytes that are in memory, those that it shares among them; processor time of its threads; threads; open descriptors, -1 if they cannot be seen. */
struct pc_os_vitals {
    uint64_t resident, cpu_us, threads;
    int64_t files;
};
int pc_os_process_vitals(pid_t pid, struct pc_os_vitals *vitals);

/*
 * Looks in the environment of a process for its first entry that begins with `prefix` ("NAME=") and copies what follows
 * into value, with a NUL. -ENOENT: there is none. -ENAMETOOLONG: it does not fit. A zombie has no
 * environment: an error.
 */
int pc_os_process_env(pid_t pid, const char *prefix, char *value, size_t size);

#endif
