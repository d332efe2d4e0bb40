#pragma once
/* JSON by jansson, which is included here alone: everybody else includes this. Strict, bounded
 * reading; values are jansson's
 * (`json_t`, counted: json_decref). One thread for each value. */
#include <jansson.h>

#include "base/fault.h"
#include "base/slice.h"
#include "base/strb.h"

/* Parses a whole document (any kind of value at the top), UTF-8, duplicates refused. The fault has
 * line and column. 0, ERR_PARSE, ERR_NOMEM (where jansson says so: it does not always). */
int json_parse(struct slice text, json_t **ret, struct fault *fault)
    __attribute__((warn_unused_result));
/* The same, but of repeated keys the last one counts: for texts that Go programs read thus. */
int json_parse_last_wins(struct slice text, json_t **ret, struct fault *fault)
    __attribute__((warn_unused_result));
/* From now on what a value held is wiped when it goes. Once, before the first value. */
void json_wipe_values(void);
/* Appends the compact form; keys in the order of insertion. */
void json_write(struct strb *to, const json_t *value);
/* A string member as a borrowed slice; empty when it is absent or not a string. */
struct slice json_member_slice(const json_t *object, const char *key);
