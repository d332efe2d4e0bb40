#pragma once
/* JSON documents as the trees of conf/yaml_tree.h: configuration that an edge sends, with the place
 * of every value. Numbers stay as they were written, which says more than a number: 1.5, 1e2 and 99
 * digits are told apart. What is accepted and the words of refusals are those of Go's
 * encoding/json: bytes that are no UTF-8 and lone surrogates become U+FFFD, and a key may come
 * twice (both stay in the tree). Bounded like YAML. One thread. */
#include "conf/yaml_tree.h"

/* Strings are quoted scalars; numbers, true, false and null are plain ones. */
int json_tree_parse(struct slice text, struct arena *arena, struct yaml_node **ret,
                    struct fault *fault) __attribute__((warn_unused_result));
