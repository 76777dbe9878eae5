#pragma once

/* Threads that no signal finds: the kernel may give one to any thread that has not blocked it, and
 * signals are for the main loop. */

#include <pthread.h>

/* As pthread_create(): 0, or an errno. */
int thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);
