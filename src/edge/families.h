#pragma once
/* The edge's families of metrics whose labels are not known beforehand (edge/families.def). */
#include "base/metric.h"

enum edge_family {
#define FAMILY(id, ...) FAMILY_##id,
#include "edge/families.def"
#undef FAMILY
};
const struct metric_family *edge_family(enum edge_family id);
