#pragma once
/* Lines on their way to a file, or to standard output, that nobody has to wait for: each producer
 * puts them into a ring of its own, without a lock; one thread writes them. A disk or a reader that
 * cannot follow costs lines, which are counted, and never a request. */
#include <stdbool.h>

#include "base/fault.h"
#include "base/slice.h"

struct line_writer;
struct line_ring;

/* `path`: a file, which is made with mode 0600 or appended to; "-" is standard output. */
int line_writer_open(const char *path, struct line_writer **ret, struct fault *fault)
    __attribute__((warn_unused_result));
/* The ring of one more producer, which the writer frees; aborts when memory is short. Before
 * line_writer_start. */
struct line_ring *line_writer_ring(struct line_writer *w);
/* Starts the thread. */
int line_writer_start(struct line_writer *w, struct fault *fault)
    __attribute__((warn_unused_result));
/* One line with its newline; by the ring's producer alone. One that finds no room is dropped. */
void line_ring_put(struct line_ring *r, struct slice line);
/* The file is closed and opened again by its name, as after it was rotated. Any thread. */
void line_writer_reopen(struct line_writer *w);
/* Lines taken, and lines lost. Any thread. */
void line_writer_counts(struct line_writer *w, uint64_t *ret_lines, uint64_t *ret_dropped);
/* Writes what is left, for a second at most, and frees. No producer may be there. NULL is accepted.
 */
void line_writer_close(struct line_writer *w);
