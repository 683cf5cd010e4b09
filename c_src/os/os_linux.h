#ifndef PC_OS_OS_LINUX_H
#define PC_OS_OS_LINUX_H

/* What os_linux.c and its neighbours share. */

#include <sys/types.h>

enum { PC_LINUX_STAT = 1024 }; /* bytes, more than there ever are */

/* Reads /proc/<pid>/stat. *fields is what stands behind the name, " state ppid …": a name may hold anything, ')' too. 0 or -errno. */
int pc_linux_stat(pid_t pid, char text[PC_LINUX_STAT], const char **fields);

#endif
