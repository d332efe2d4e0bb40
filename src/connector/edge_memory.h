#pragma once
/* The addresses at which a tunnel's edge was good, for a start at which its name cannot be resolved
 * or leads nowhere: one small file for each tunnel. They are addresses to dial and nothing more;
 * whom a connector believes is not said there. One thread. */
#include <limits.h>

#include "base/fault.h"
#include "base/text.h"
#include "connector/edge_set.h"

#define EDGE_MEMORY_OF_NAME 8 /* of each name; the oldest goes */
#define EDGE_MEMORY_MAX     32
#define EDGE_KEY_BYTES      (HOSTNAME_BYTES_MAX + 16)

struct edge_memory {
    char path[PATH_MAX]; /* "" = nothing is kept */
    bool is_told;        /* that it cannot be written */
    /* The last one that was good first. */
    struct edge_memory_entry {
        char key[EDGE_KEY_BYTES]; /* NAME:PORT, or srv:NAME */
        struct addr addr;
    } entries[EDGE_MEMORY_MAX];
    size_t count;
};

/* Reads DIR/edges-TUNNEL; what cannot be read is told in the log and counts as empty. `dir` NULL:
 * nothing is kept. */
void edge_memory_open(struct edge_memory *m, const char *dir, const struct uuid *tunnel);
/* What is remembered of a name, at least one; false when nothing is. */
bool edge_memory_find(const struct edge_memory *m, const struct edge_name *name,
                      struct edge_found *ret);
/* It is good: the file is written when that is news (0600, in one step). */
void edge_memory_note(struct edge_memory *m, const struct edge_name *name, const struct addr *addr);

/* The file's text. Pure. A text that is not one of these gives ERR_PARSE and no entries. */
int edge_memory_parse(struct edge_memory *m, struct slice text);
