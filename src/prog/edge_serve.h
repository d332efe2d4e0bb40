#pragma once
/* `adit-edge serve`: the edge and the control plane put together. */
#include "conf/opt.h"

struct edge_options {
#define OPT(field, kind, ...) opt_type_##kind field;
#include "prog/edge_options.def"
#undef OPT
};

/* Serves until it is told to stop. Exit status. */
int edge_serve(const struct edge_options *o);
/* The data directory that the options mean. */
const char *edge_data_dir(const struct edge_options *o);
