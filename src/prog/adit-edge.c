/* adit-edge: the edge and its control plane. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "control/datadir.h"
#include "crypto/keyfile.h"
#include "model/tunnel_token.h"
#include "prog/edge_serve.h"
#include "store/store.h"

#define EXIT_USAGE       255
#define CONFIG_BYTES_MAX (1024 * 1024)

static const struct opt ROWS[] = {
#define OPT(...) OPT_ROW(struct edge_options, __VA_ARGS__)
#include "prog/edge_options.def"
#undef OPT
};
#define ROW_COUNT (sizeof ROWS / sizeof ROWS[0])

struct program {
    struct arena arena;
    struct edge_options options;
    enum opt_source sources[ROW_COUNT];
    struct opt_table table;
};

static void usage(const struct program *p, FILE *to)
{
    (void)fputs("adit-edge: the public side of tunnels, and their control plane\n\n"
                "  adit-edge serve [flags]            serve visitors and connectors\n"
                "  adit-edge cert --data-dir DIR      print cert.pem for the command line of adit "
                "or cloudflared\n"
                "  adit-edge version\n\nFlags:\n",
                to);
    opt_help(&p->table, to);
}

static int complain(const struct fault *fault)
{
    char line[FAULT_LINE_BYTES];
    (void)fprintf(stderr, "adit-edge: %s\n", fault_line(fault, line));
    return 1;
}

static int read_config(struct program *p, struct fault *fault)
{
    char *text;
    size_t n;
    struct yaml_node *root = NULL;
    if (p->options.config[0] == 0)
        return 0;
    int r = file_read(p->options.config, CONFIG_BYTES_MAX, false, &text, &n, fault);
    if (r < 0)
        return r;
    r = yaml_parse(slice_of(text, n), p->options.config, &p->arena, &root, fault);
    for (const struct yaml_node *key = root != NULL && r == 0 ? root->first : NULL;
         key != NULL && r == 0; key = key->next)
        if (!opt_knows(&p->table, key->key))
            r = yaml_fault(fault, ERR_INVALID, p->options.config, key,
                           arena_fmt(&p->arena, "there is no option \"%.*s\"; see adit-edge --help",
                                     SLICE_FMT(key->key)));
    if (r == 0)
        r = opt_file(&p->table, root, p->options.config, &p->arena, fault);
    free(text);
    return r;
}

static int set_up_log(const struct edge_options *o, struct fault *fault)
{
    enum log_level level;
    enum log_format format;
    if (log_level_parse(slice_str(o->log_level), &level) < 0)
        return fault_set(fault, ERR_INVALID,
                         "--log-level %s: trace, debug, info, warn, error or off is wanted",
                         o->log_level);
    if (log_format_parse(slice_str(o->log_format), &format) < 0)
        return fault_set(fault, ERR_INVALID, "--log-format %s: logfmt or json is wanted",
                         o->log_format);
    log_setup(level, format, 2);
    return 0;
}

static int print_cert(struct program *p)
{
    struct fault fault = { 0 };
    char token[ADMIN_TOKEN_BYTES + 1], account[ACCOUNT_ID_BYTES], zone[33],
        file[DATADIR_PATH_BYTES], key[300];
    const char *dir = edge_data_dir(&p->options);
    struct store *store = NULL;
    uint8_t none[32] = { 0 }; /* no secret is read here */
    log_setup(LOG_ERROR, LOG_LOGFMT, 2);
    (void)snprintf(key, sizeof key, "zone:%s",
                   p->options.domain.count > 0 ? p->options.domain.items[0] : "localhost");
    int r = datadir_admin_token(dir, token, &fault);
    if (r == ERR_NOTFOUND)
        (void)fault_set(
            &fault, r,
            "%s is not the data directory of an edge; start adit-edge serve first, or name it with "
            "--data-dir",
            dir);
    if (r == 0)
        r = store_open(datadir_file(dir, "adit.db", file), none, &store, &fault);
    if (r == 0 && (store_get(store, "account", account, sizeof account) < 0 ||
                   store_get(store, key, zone, sizeof zone) < 0))
        r = fault_set(&fault, ERR_NOTFOUND,
                      "%s has no such domain yet; start adit-edge serve with it first", file);
    store_close(store);
    if (r < 0)
        return complain(&fault);
    struct origin_cert cert = { .zone = slice_str(zone),
                                .account = slice_str(account),
                                .token = slice_str(token) };
    const char *text = origin_cert_write(&cert, &p->arena);
    explicit_bzero(token, sizeof token);
    (void)fputs(text != NULL ? text : "", stdout);
    return fflush(stdout) == 0 && text != NULL ? 0 : 1;
}

static int run(struct program *p, int argc, char **argv)
{
    struct fault fault = { 0 };
    const char *command;
    int count = 0;
    int r = opt_args(&p->table, 1, argc - 1, argv + 1, &count, &p->arena, &fault);
    if (r == ERR_CANCELED || (r == 0 && count > 0 && slice_eq(slice_str(argv[1]), SLICE("help")))) {
        usage(p, stdout);
        return 0;
    }
    if (r == 0)
        r = opt_env(&p->table, &p->arena, &fault);
    if (r == 0)
        r = read_config(p, &fault);
    if (r == 0)
        r = set_up_log(&p->options, &fault);
    if (r < 0) {
        (void)complain(&fault);
        return EXIT_USAGE;
    }
    command = count > 0 ? argv[1] : "";
    if (count == 1 && slice_eq(slice_str(command), SLICE("serve")))
        return edge_serve(&p->options);
    if (count == 1 && slice_eq(slice_str(command), SLICE("cert")))
        return print_cert(p);
    if (count == 1 && slice_eq(slice_str(command), SLICE("version"))) {
        (void)printf("adit-edge %s\n", ADIT_VERSION);
        return 0;
    }
    if (count > 0)
        (void)fprintf(stderr, "adit-edge: there is no command %s\n\n",
                      count > 1 ? argv[2] : command);
    usage(p, stderr);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct program *p = calloc(1, sizeof *p);
    if (p == NULL)
        return 1;
    arena_init(&p->arena, 4 * 1024 * 1024);
    p->table = (struct opt_table){
        .rows = ROWS, .count = ROW_COUNT, .values = &p->options, .sources = p->sources
    };
    opt_defaults(&p->table, &p->arena);
    int status = run(p, argc, argv);
    arena_done(&p->arena);
    free(p);
    return status;
}
