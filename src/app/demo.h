#pragma once

/* A simulated Fireworks on a loopback port, in a thread of this process, which fails on purpose:
 * 503, 429 with and without Retry-After, a slow first byte, streams cut in the middle. */

/* Starts it; its URL, valid until demo_stop(). Ends the process if it cannot start. */
const char *demo_start(void);
void demo_stop(void);
/* What a newcomer reads first: that this is a demo, how to go live, and a curl line to try. */
void demo_say_hello(unsigned port);
