#ifndef PC_PORT_GUARD_H
#define PC_PORT_GUARD_H

#include <sys/types.h>

/*
 * The parent of the port: waits for its end, however that comes about, and kills it when it outlives the VM, or is stopped for a second. It never reads stdin,
 * and allocates nothing. When the port has ended the guard sweeps everything that the port has left. Returns the status to exit with.
 */
int pc_guard_run(pid_t port);

#endif
