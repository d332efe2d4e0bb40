#pragma once
/* What ingress rules are made of: for those who make, load and free them. */
#include <stdatomic.h>

#include "connector/ingress.h"

struct ingress {
    _Atomic unsigned refs;
    struct arena arena;
    struct rule *rules;
    size_t count;
    struct origin_request global;
};

/* Whether its hostname is one, and whether it catches everything only where it should. The words
 * are the reference's. */
int rule_check_hostname(const struct rule *r, size_t index, size_t count, struct fault *f)
    __attribute__((warn_unused_result));

/* ingress_load.c: tls and tls_h2 of a rule that has TLS, of what its files are now. */
int ingress_load_rule(struct rule *r, struct fault *f) __attribute__((warn_unused_result));
