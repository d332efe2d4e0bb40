#pragma once
/* The command line of `adit`: what its commands share. One thread. */
#include <stdio.h>

#include "base/arena.h"
#include "conf/opt.h"
#include "confine/confine.h"
#include "connector/connection.h"
#include "connector/ingress.h"
#include "connector/warp.h"
#include "model/tunnel_token.h"

#define EXIT_USAGE 255

struct tunnel_options {
#define OPT(field, kind, ...) opt_type_##kind field;
#include "cli/tunnel_options.def"
#undef OPT
};

/* The edge of this machine, by its data directory. */
struct local_edge {
    const char *dir;
    struct slice tunnel, local; /* addresses */
};

struct tunnel_plan;

struct cli {
    struct arena arena;
    struct tunnel_options o;
    struct opt_table table;
    struct yaml_node *file; /* of --config or the first config.yml found; NULL = none */
    const char *file_path;
    struct slice file_text;
    struct yaml_complaints *complaints; /* of the file itself, or NULL */
    bool is_file_cut;    /* it is YAML only up to some line: what stands before it is in `file` */
    bool is_file_broken; /* the fault is about the file's rules: there may be more to say */
    struct fault fault;
    struct local_edge local; /* once it was looked for: files may be out of reach later */
    bool is_local_known;
    int local_result;
    const char *edge_cache;    /* directory of good addresses, or NULL (edges_keep) */
    struct tunnel_plan *plans; /* that are run (plan.h) */
    size_t plan_count;
    struct confine confine;
    int watched;           /* inotify of the directories of file_path, or -1 */
    struct slice ca_pem;   /* of --cacert, or of the edge of this machine */
    struct fault ca_fault; /* why the latter could not be read */
};

/* "adit: …" on standard error; about the configuration file with the line that is meant, and with
 * all other mistakes in its rules. Returns 1. */
int cli_complain(struct cli *c);
/* explain.c: what is wrong with the file's rules, and what cannot be meant. In the arena; NULL when
 * memory is short. */
struct ingress_report *cli_check_rules(struct cli *c);
void cli_explain(const struct cli *c, const struct ingress_report *r);
/* What cannot be meant in rules that are good: in the log of a run. */
void cli_log_warnings(struct cli *c);
/* Wrong arguments: "adit COMMAND" requires WHAT. Returns EXIT_USAGE. */
int cli_usage(const struct cli *c, const char *command, const char *what);

/* Reads the configuration file into c->file and the options. A named file must be there. */
int cli_read_config(struct cli *c) __attribute__((warn_unused_result));
/* Reads that file again, into another struct cli that has its path, options and table. */
int cli_reread_config(struct cli *c) __attribute__((warn_unused_result));
/* First of the configuration directories that has this file, as a path in the arena; NULL when none
 * has. */
const char *cli_find_file(struct cli *c, const char *name);
/* A whole file in the arena. */
int cli_read_file(struct cli *c, const char *path, bool secret, struct slice *ret)
    __attribute__((warn_unused_result));
/* Rules from the file, or from the single-origin flags; NULL in *ret when neither says anything. */
int cli_ingress(struct cli *c, struct ingress **ret) __attribute__((warn_unused_result));

/* Whether the rules are those of the file, so that it can be read again. */
bool cli_has_file_rules(const struct cli *c);
/* What warp-routing of the file and of the flags say; *ret_flag gets the flag's text, or NULL. */
int cli_warp_routing(struct cli *c, struct warp_routing *ret, const char **ret_flag)
    __attribute__((warn_unused_result));
/* What the edge is told of the configuration that is in force here: JSON from malloc, or NULL. */
char *cli_local_configuration(struct cli *c, const struct ingress *ingress,
                              const struct warp_routing *warp);

/* ERR_NOTFOUND when none runs here. */
int cli_local_edge(struct cli *c, struct local_edge *ret) __attribute__((warn_unused_result));

/* Gives up what serving the plans does not need. Every file must have been read, and no thread be
 * started. */
int cli_confine(struct cli *c) __attribute__((warn_unused_result));

/* commands */
int cmd_tunnel(struct cli *c, int argc, char **argv); /* quick tunnel */
int cmd_run(struct cli *c, int argc, char **argv);
int cmd_create(struct cli *c, int argc, char **argv);
int cmd_list(struct cli *c, int argc, char **argv);
int cmd_info(struct cli *c, int argc, char **argv);
int cmd_delete(struct cli *c, int argc, char **argv);
int cmd_token(struct cli *c, int argc, char **argv);
int cmd_cleanup(struct cli *c, int argc, char **argv);
int cmd_route_dns(struct cli *c, int argc, char **argv);
int cmd_route_balance(struct cli *c, int argc, char **argv);
int cmd_login(struct cli *c, int argc, char **argv);
int cmd_ingress_validate(struct cli *c, int argc, char **argv);
int cmd_ingress_rule(struct cli *c, int argc, char **argv);

/* Runs the plans' connectors until it is told to stop. Exit status. `hostname`: of a quick tunnel,
 * or NULL. */
int cli_connect(struct cli *c, const char *hostname);
/* What a text of --protocol says. ERR_INVALID, with the fault. */
int cli_protocol(struct cli *c, const char *text, enum protocol *ret)
    __attribute__((warn_unused_result));
