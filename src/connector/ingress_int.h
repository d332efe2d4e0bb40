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
