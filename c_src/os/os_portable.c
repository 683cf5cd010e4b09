/*
 * os.h for systems that are not Linux. What cannot be had says -ENOSYS, so that the caller can go on with less: daemons
 * that leave their process group are then found by nobody. Same rules as os_linux.c.
 */

#include "os.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int pc_os_set_parent_death_signal(int signal) {
    (void)signal;
    return -ENOSYS;
}

int pc_os_become_subreaper(void) { return -ENOSYS; }

int pc_os_pidfd_open(pid_t pid) {
    (void)pid;
    return -ENOSYS;
}

int pc_os_pidfd_signal(int pidfd, int signal) {
    (void)pidfd;
    (void)signal;
    return -ENOSYS;
}

int pc_os_pidfd_is_child(int pidfd) {
    (void)pidfd;
    return -ENOSYS;
}

int pc_os_raise_oom_score(int adjustment) {
    (void)adjustment;
    return -ENOSYS;
}

/* Without seals it could shrink under the reader, which would be killed by that. */
int pc_os_shared_memory(size_t size) {
    (void)size;
    return -ENOSYS;
}

int pc_os_written_memory(size_t size, void **memory) {
    (void)size;
    *memory = NULL;
    return -ENOSYS;
}

int pc_os_check_shared_memory(int fd, size_t size) {
    (void)fd;
    (void)size;
    return -ENOSYS;
}

int pc_os_check_written_memory(int fd, size_t size) { return pc_os_check_shared_memory(fd, size); }

int pc_os_drop_copies(void *memory, size_t size) {
    (void)memory;
    (void)size;
    return -ENOSYS;
}

int pc_os_alarm(void) { return -ENOSYS; }

int pc_os_alarm_set(int alarm, int milliseconds) {
    (void)alarm;
    (void)milliseconds;
    return -ENOSYS;
}

int pc_os_private_memory(uint64_t *bytes) {
    *bytes = 0;
    return -ENOSYS;
}

int pc_os_peer(int socket, pid_t *pid, uid_t *uid, gid_t *gid) {
    *pid = 0;
#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__NetBSD__) || defined(__DragonFly__)
    return getpeereid(socket, uid, gid) < 0 ? -errno : 0;
#else
    (void)socket;
    (void)uid;
    (void)gid;
    return -ENOSYS;
#endif
}

int pc_os_keep_from_children(void *pages, size_t n) {
    (void)pages;
    (void)n;
    return -ENOSYS;
}

int pc_os_stack(void **lowest, size_t *size) {
    (void)lowest;
    (void)size;
    return -ENOSYS;
}

int pc_os_leave_file_pages(void) { return -ENOSYS; }

int pc_os_each_child(pc_os_pid_fn visit, void *context) {
    (void)visit;
    (void)context;
    return -ENOSYS;
}

int pc_os_each_process(pc_os_pid_fn visit, void *context) {
    (void)visit;
    (void)context;
    return -ENOSYS;
}

int pc_os_process_uid(pid_t pid, uid_t *uid) {
    (void)pid;
    (void)uid;
    return -ENOSYS;
}

int pc_os_process_vitals(pid_t pid, struct pc_os_vitals *vitals) {
    (void)pid;
    (void)vitals;
    return -ENOSYS;
}

int pc_os_process_env(pid_t pid, const char *prefix, char *value, size_t size) {
    (void)pid;
    (void)prefix;
    (void)value;
    (void)size;
    return -ENOSYS;
}
