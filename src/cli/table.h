#pragma once
/* What the listing commands print: aligned columns, and JSON with the members and names that the
 * reference's commands print. */
#include <stdio.h>

#include "cli/cli.h"
#include "codec/json.h"

#define TABLE_COLUMNS_MAX 8

/* Rows of texts in the arena; each column is as wide as its widest cell and one space. */
struct table {
    struct cli *cli;
    size_t columns, count, room;
    const char **cells;
};

void table_init(struct table *t, struct cli *c, size_t columns, const char *const *heads);
/* `cells`: as many as columns; they are borrowed until table_print. */
void table_add(struct table *t, const char *const *cells);
void table_print(const struct table *t, FILE *to);

/* A string member, "" when it is absent. */
const char *member_text(const json_t *object, const char *key);
/* "2026-01-02T03:04:05Z" of a time with a fraction, in the arena. */
const char *time_seconds(struct cli *c, const char *rfc3339);
/* Connections by place, "4xADT, 1xLHR"; those that are about to go only when asked for. */
const char *connections_text(struct cli *c, const json_t *conns);

/* Whether -o json was given; an unknown format is complained about, and gives -1. */
int wants_json(struct cli *c);
/* Prints and lets go of the value. Exit status. */
int print_json(json_t *value);
/* A tunnel as create and list print it. The caller's. */
json_t *tunnel_shape(const json_t *tunnel);
/* A connector as info prints it. The caller's. */
json_t *connector_shape(const json_t *connector);
