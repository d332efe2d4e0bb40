#pragma once
/* YAML documents as trees (libyaml): small configuration files, with the place of every value.
 * Bounded: 1 MiB, YAML_DEPTH_MAX, and YAML_NODES_MAX nodes, aliases included. Nodes live in the
 * arena. One thread. A text may hold any character, NUL too. */
#include "base/arena.h"
#include "base/fault.h"

#define YAML_DEPTH_MAX 32
#define YAML_NODES_MAX 100000
#define YAML_BYTES_MAX (1024 * 1024)

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    unsigned line, column; /* from 1 */
    struct slice text;     /* of a scalar */
    bool is_plain;         /* not quoted: `yes`, `1`, `~` have a meaning beyond text */
    struct slice key;      /* when it is a map's value */
    unsigned key_line, key_column;
    struct yaml_node *first; /* of a list or map */
    struct yaml_node *next;  /* behind it in its list or map */
};

/* The first document; NULL in *ret for an empty one. Repeated keys and merge keys are refused.
 * `where` names the file in the fault. */
int yaml_parse(struct slice text, const char *where, struct arena *arena, struct yaml_node **ret,
               struct fault *fault) __attribute__((warn_unused_result));

/* What is wrong with keys that can be read past, for whoever wants to hear all of it. */
#define YAML_COMPLAINTS_MAX 100 /* of one file: nobody reads more */
struct yaml_complaint {
    unsigned line, column;
    const char *text;    /* of the arena */
    unsigned first_line; /* of a key that is there twice; 0 = it is another complaint */
};
struct yaml_complaints {
    struct yaml_complaint list[YAML_COMPLAINTS_MAX];
    size_t count; /* what the list has */
};

/* As yaml_parse, but a key that is refused is added to `all` and left out with its value; of those
 * that are there twice the first counts. ERR_PARSE when there are any: *ret is the tree then too,
 * and the fault tells of the first. Of a file whose syntax is wrong *ret is untouched. */
int yaml_parse_all(struct slice text, const char *where, struct arena *arena,
                   struct yaml_node **ret, struct yaml_complaints *all, struct fault *fault)
    __attribute__((warn_unused_result));
/* yaml_help.c */
/* Of a text that yaml_parse refused at a line (from 1): what stands before it and can be read, as
 * if the file ended there; NULL when nothing can. */
struct yaml_node *yaml_parse_before(struct slice text, unsigned line, struct arena *arena);
/* What to write instead, of a syntax fault's text; or NULL. */
const char *yaml_syntax_hint(struct slice fault_text);
/* A map's value; NULL when it is absent (or `map` is NULL or no map). */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
/* The node and all below it, with their texts, in another arena; `next` is NULL. NULL when memory
 * is short, or for NULL. */
struct yaml_node *yaml_copy(const struct yaml_node *n, struct arena *arena);
/* Plain `~`, `null` or nothing. */
bool yaml_is_null(const struct yaml_node *n);
/* true/false in the spellings of YAML 1.2 (and yes/no/on/off of 1.1, as the reference's parser).
 * ERR_PARSE. */
int yaml_bool(const struct yaml_node *n, bool *ret);
/* fault_set with the node's place. Returns `code`. */
int yaml_fault(struct fault *f, int code, const char *where, const struct yaml_node *n,
               const char *text);
