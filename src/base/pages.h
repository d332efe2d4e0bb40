#pragma once
/* What a program holds of its own code. */

/* Lets go of the code that is mapped: what start-up alone needed (option tables, certificates, key
 * generation) is not held for the rest of the program's life; what is needed comes back from the
 * page cache, a page at a time, without reading a disk. Resident memory shrinks by about 2 MiB of
 * the libraries'. Any thread; best effort. */
void pages_forget_code(void);
