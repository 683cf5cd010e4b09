#ifndef PC_PORT_LAUNCH_H
#define PC_PORT_LAUNCH_H

/*
 * Starting a program as a zygote: everything is built before the fork, the child makes system calls only. The program gets
 * descriptor 3 (its link), /dev/null as 0, pipes as 1 and 2, a process group of its own, and SIGKILL when the port dies.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The link's descriptor in the zygote. The port must keep this number occupied. */
enum { PC_LINK_FD = 3 };

/* A list of strings, and the NULL that argv and envp end with. */
struct pc_strings {
    char **items;
    size_t count;
};

struct pc_launch {
    struct pc_strings argv;
    struct pc_strings env;   /* begins as a copy of the port's own */
    struct pc_strings paths; /* what execve tries in turn */
    char *cd;                /* or NULL */
    const char *problem;     /* static text: why it cannot be started; or NULL */
};

void pc_launch_init(struct pc_launch *l);
void pc_launch_destroy(struct pc_launch *l);

/* Texts need no NUL; one that holds a NUL becomes the problem. A value of NULL removes the name. */
void pc_launch_arg(struct pc_launch *l, const char *text, size_t n);
void pc_launch_env(struct pc_launch *l, const char *name, size_t n, const char *value, size_t value_n);
void pc_launch_cd(struct pc_launch *l, const char *text, size_t n);

/* What the port keeps: all close-on-exec and nonblocking. */
struct pc_launched {
    pid_t pid;
    int link;   /* SOCK_SEQPACKET */
    int report; /* end of file when the program runs, else struct pc_launch_error */
    int out[2]; /* its descriptors 1 and 2 */
};

struct pc_launch_error {
    bool cd; /* it was the folder, not the program */
    int error;
};

/* Looks the program up by PATH of the new environment (relative to cd, as in a shell) and starts it. 0 or -errno. */
int pc_launch_run(struct pc_launch *l, struct pc_launched *launched);

/* Raises the number of open descriptors as far as allowed, once; launched programs get the old number back. Returns the limit. */
size_t pc_launch_raise_descriptors(void);

#endif
