#pragma once

/* The command line: what is asked for, and with which exit code it ends. */

int cli_main(int argc, char **argv);
