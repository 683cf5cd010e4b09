#ifndef PC_TEST_RACE_ZYGOTE_H
#define PC_TEST_RACE_ZYGOTE_H

/*
 * A zygote without Python for test_port_races.c: the parts of the real one that need none (launch, children, packets, tell, mark)
 * around a loop of its own. A payload is a letter, which says how the worker behaves, and the path of the VM's socket:
 *
 *   c  connects, says its number, and leaves with the status that it is told, or 0 at end of file, or RACE_NO_SOCKET
 *   x  leaves with RACE_STATUS      d  leaves with 0, and leaves a child and a daemon behind, which ignore SIGTERM
 *   i  ignores SIGTERM              b  stays, with such a child and daemon
 *   u  kills itself with SIGUSR1    f  floods its output           p  stays            r  is refused by the zygote
 */

enum { RACE_STATUS = 3, RACE_NO_SOCKET = 4 };

/* The program that the port starts as a zygote. */
int race_zygote_main(void);

#endif
