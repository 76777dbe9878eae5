#pragma once

/* What a process that holds keys does to itself before it reads one. */

/* From here on: no core image is written when it crashes, no other process of the same user may
 * read its memory (ptrace, /proc/PID/mem, environ), and memory that libevent frees is wiped. The
 * first thing of all: before libevent is used, and before there are threads. */
void harden(void);
