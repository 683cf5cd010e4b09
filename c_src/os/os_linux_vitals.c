/* What /proc says of another process (os.h). Reading it stops nobody: no lock of that process's memory is taken. */

#include "os.h"
#include "os_linux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_COUNTED = 4096, PATH_SIZE = 64 };

int pc_linux_stat(pid_t pid, char text[PC_LINUX_STAT], const char **fields) {
    char path[PATH_SIZE];
    ssize_t n;
    *fields = "";
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    do {
        n = read(fd, text, PC_LINUX_STAT - 1);
    } while (n < 0 && errno == EINTR);
    int error = n < 0 ? -errno : 0;
    (void)close(fd);
    text[n < 0 ? 0 : n] = '\0';
    const char *end = strrchr(text, ')');
    if (end != NULL) {
        *fields = end + 1;
    }
    return error != 0 ? error : end == NULL ? -EINVAL : 0;
}

static int parse_stat(const char *fields, struct pc_os_vitals *v) {
    unsigned long long user, system;
    long threads, pages;
    if (sscanf(fields,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %ld %*d %*u "
               "%*u %ld",
               &user, &system, &threads, &pages) != 4) {
        return -EINVAL;
    }
    const uint64_t us_per_tick = 1000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    v->cpu_us = (user + system) * us_per_tick;
    v->threads = threads < 0 ? 0 : (uint64_t)threads;
    v->resident = pages < 0 ? 0 : (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return 0;
}

static int64_t count_entries(const char *path) {
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return -1;
    }
    int64_t n = 0;
    const struct dirent *entry;
    while (n < MOST_COUNTED && (entry = readdir(folder)) != NULL) {
        n += entry->d_name[0] != '.';
    }
    (void)closedir(folder);
    return n;
}

/* Newer kernels say it without a look at each; where they do not, so many are counted that it takes no time. */
static int64_t count_files(pid_t pid) {
    char path[PATH_SIZE];
    struct stat st;
    (void)snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
    if (stat(path, &st) < 0) {
        return -1;
    }
    return st.st_size > 0 ? (int64_t)st.st_size : count_entries(path);
}

int pc_os_process_vitals(pid_t pid, struct pc_os_vitals *v) {
    char text[PC_LINUX_STAT];
    const char *fields;
    int error = pc_linux_stat(pid, text, &fields);
    if (error == 0) {
        error = parse_stat(fields, v);
    }
    if (error == 0) {
        v->files = count_files(pid);
    }
    return error;
}
