/* adit-edge: the edge and its control plane. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "codec/json.h"
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
    if (r == 0 && root != NULL && root->kind != YAML_MAP)
        r = yaml_fault(fault, ERR_INVALID, p->options.config, root,
                       "options are wanted, as in \"http: :8080\"");
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

/* The zone of --domain, or of the edge's first domain. */
static int find_zone(struct store *store, const struct edge_options *o,
                     char account[static ACCOUNT_ID_BYTES], char zone[static 33],
                     struct fault *fault)
{
    char domain[256], key[300];
    int r = store_get(store, "domain", domain, sizeof domain);
    if (o->domain.count > 0)
        (void)snprintf(domain, sizeof domain, "%s", o->domain.items[0]);
    else if (r < 0)
        return fault_set(
            fault, r, "no edge has run with this data directory yet; start adit-edge serve first");
    (void)snprintf(key, sizeof key, "zone:%s", domain);
    if (store_get(store, "account", account, ACCOUNT_ID_BYTES) < 0 ||
        store_get(store, key, zone, 33) < 0)
        return fault_set(fault, ERR_NOTFOUND,
                         "this edge does not serve the domain %s; start adit-edge serve with "
                         "--domain %s first",
                         domain, domain);
    return 0;
}

/* Where the API is: as it was said, or where the edge serves it now; empty when neither is known.
 */
static struct slice find_api(struct program *p)
{
    char file[DATADIR_PATH_BYTES], *text;
    size_t n;
    json_t *json;
    struct slice local = { 0 };
    if (p->options.api_url[0] != 0)
        return slice_str(p->options.api_url);
    if (file_read(datadir_file(edge_data_dir(&p->options), "addresses.json", file),
                  CONFIG_BYTES_MAX, false, &text, &n, NULL) < 0)
        return local;
    if (json_parse(slice_of(text, n), &json, NULL) == 0) {
        local = json_member_slice(json, "local");
        const char *url =
            local.n > 0 ? arena_fmt(&p->arena, "http://%.*s/client/v4", SLICE_FMT(local)) : NULL;
        local = slice_str(url);
        json_decref(json);
    }
    free(text);
    return local;
}

static int print_cert(struct program *p)
{
    struct fault fault = { 0 };
    char token[ADMIN_TOKEN_BYTES + 1], account[ACCOUNT_ID_BYTES], zone[33],
        file[DATADIR_PATH_BYTES];
    const char *dir = edge_data_dir(&p->options);
    struct store *store = NULL;
    uint8_t none[32] = { 0 }; /* no secret is read here */
    log_setup(LOG_ERROR, LOG_LOGFMT, 2);
    int r = datadir_admin_token(dir, token, &fault);
    if (r == ERR_NOTFOUND)
        (void)fault_set(
            &fault, r,
            "%s is not the data directory of an edge; start adit-edge serve first, or name it with "
            "--data-dir",
            dir);
    if (r == 0)
        r = store_open(datadir_file(dir, "adit.db", file), none, &store, &fault);
    if (r == 0)
        r = find_zone(store, &p->options, account, zone, &fault);
    store_close(store);
    if (r < 0)
        return complain(&fault);
    struct origin_cert cert = { .zone = slice_str(zone),
                                .account = slice_str(account),
                                .token = slice_str(token),
                                .api = find_api(p) };
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
    static char version[] = "version";
    if (argc == 2 && slice_eq(slice_str(argv[1]), SLICE("--version")))
        argv[1] = version;
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
    if (count == 0) {
        usage(p, stderr);
        return EXIT_USAGE;
    }
    bool is_command = slice_eq(slice_str(command), SLICE("serve")) ||
                      slice_eq(slice_str(command), SLICE("cert")) ||
                      slice_eq(slice_str(command), SLICE("version"));
    (void)fprintf(stderr,
                  is_command ? "adit-edge: %s takes flags alone, not %s; see adit-edge --help\n"
                             : "adit-edge: there is no command %s; see adit-edge --help\n",
                  command, count > 1 ? argv[2] : "");
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct program *p = calloc(1, sizeof *p);
    if (p == NULL)
        return 1;
    json_wipe_values();
    arena_init_secret(&p->arena, 4 * 1024 * 1024);
    p->table = (struct opt_table){
        .rows = ROWS, .count = ROW_COUNT, .values = &p->options, .sources = p->sources
    };
    opt_defaults(&p->table, &p->arena);
    int status = run(p, argc, argv);
    log_settle(true);
    arena_done(&p->arena);
    free(p);
    return status;
}
