#pragma once
/* Header and trailer fields (RFC 9110 §5): lines in the order they came, names with the case they
 * came in. They live in the exchange's arena. */
#include "base/arena.h"
#include "base/slice.h"

struct field {
    struct slice name, value; /* value without surrounding white space */
};

struct fields {
    struct field *lines;
    size_t count, cap;
    struct arena *arena;
};

void fields_init(struct fields *f, struct arena *arena);
/* Adds a line; views are kept as they are: copy them into the arena first when they are borrowed.
 * ERR_LIMIT past HEAD_FIELDS_MAX, ERR_NOMEM. */
int fields_add(struct fields *f, struct slice name, struct slice value)
    __attribute__((warn_unused_result));
/* Adds with copies of both. */
int fields_add_copy(struct fields *f, struct slice name, struct slice value)
    __attribute__((warn_unused_result));
/* First line of that name (without case), or NULL. */
const struct field *fields_get(const struct fields *f, struct slice name);
/* Number of lines of that name. */
size_t fields_count(const struct fields *f, struct slice name);
/* Removes every line of that name; returns how many. */
size_t fields_remove(struct fields *f, struct slice name);
/* Removes every line of that name and adds one. */
int fields_set(struct fields *f, struct slice name, struct slice value)
    __attribute__((warn_unused_result));
/* Whether a comma separated list field has that token, without case, over all its lines (RFC 9110
 * §5.6.1). */
bool fields_has_token(const struct fields *f, struct slice name, struct slice token);
/* Token characters only, not empty (RFC 9110 §5.6.2). */
bool field_name_is_valid(struct slice name);
/* No control characters but tab (RFC 9110 §5.5). */
bool field_value_is_valid(struct slice value);
