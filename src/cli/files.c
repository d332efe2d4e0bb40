/* Files: configuration, credentials, certificates, and where they are looked for. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/plan.h"
#include "codec/json.h"
#include "crypto/keyfile.h"

#define FILE_BYTES_MAX (1024 * 1024)

int cli_usage(const struct cli *c, const char *command, const char *what)
{
    (void)c;
    (void)fprintf(stderr, "adit: \"adit %s\" requires %s\nSee 'adit %s --help'.\n", command, what,
                  command);
    return EXIT_USAGE;
}

/* Ours first, then the reference's (docs/protocol.md §13). */
static const char *const DIRECTORIES[] = { "~/.adit",
                                           "/etc/adit",
                                           "~/.cloudflared",
                                           "~/.cloudflare-warp",
                                           "~/cloudflare-warp",
                                           "/etc/cloudflared",
                                           "/usr/local/etc/cloudflared" };

const char *cli_find_file(struct cli *c, const char *name)
{
    const char *home = getenv("HOME");
    for (size_t i = 0; i < sizeof DIRECTORIES / sizeof DIRECTORIES[0]; i++) {
        const char *dir = DIRECTORIES[i];
        const char *path =
            dir[0] == '~'
                ? (home != NULL ? arena_fmt(&c->arena, "%s%s/%s", home, dir + 1, name) : NULL)
                : arena_fmt(&c->arena, "%s/%s", dir, name);
        if (path != NULL && access(path, R_OK) == 0)
            return path;
    }
    return NULL;
}

int cli_read_file(struct cli *c, const char *path, bool secret, struct slice *ret)
{
    char *text;
    size_t n;
    int r = file_read(path, FILE_BYTES_MAX, secret, &text, &n, &c->fault);
    if (r < 0)
        return r;
    *ret = arena_copy(&c->arena, slice_of(text, n));
    explicit_bzero(text, n);
    free(text);
    return ret->p != NULL ? 0 : fault_set(&c->fault, ERR_NOMEM, "out of memory");
}

/* Who is told that a file is wrong is told everything: what can be read of it is kept for that. */
static int parse_config(struct cli *c, struct slice text)
{
    c->complaints = arena_alloc(&c->arena, sizeof *c->complaints);
    if (c->complaints == NULL)
        return fault_set(&c->fault, ERR_NOMEM, "out of memory");
    int r = yaml_parse_all(text, c->file_path, &c->arena, &c->file, c->complaints, &c->fault);
    c->is_file_broken = r == ERR_PARSE;
    if (r == ERR_PARSE && c->file == NULL) {
        const char *why = arena_str(&c->arena, slice_str(c->fault.text));
        c->is_file_cut = true;
        c->file = yaml_parse_before(text, c->fault.line, &c->arena);
        c->complaints->list[0] = (struct yaml_complaint){ c->fault.line, c->fault.column, why, 0 };
        c->complaints->count = 1;
    }
    return r;
}

int cli_reread_config(struct cli *c)
{
    struct slice text;
    int r = cli_read_file(c, c->file_path, false, &text);
    c->file_text = r == 0 ? text : (struct slice){ 0 };
    return r == 0 ? parse_config(c, text) : r;
}

int cli_read_config(struct cli *c)
{
    c->file_path = c->o.config[0] != 0 ? c->o.config : cli_find_file(c, "config.yml");
    if (c->file_path == NULL)
        c->file_path = cli_find_file(c, "config.yaml");
    if (c->file_path == NULL)
        return 0;
    int r = cli_reread_config(c);
    return r == 0 ? opt_file(&c->table, c->file, c->file_path, &c->arena, &c->fault) : r;
}

/* ---- rules ---- */

static void request_of_flags(const struct cli *c, struct origin_request *r)
{
    origin_request_defaults(r);
    r->host_header = slice_str(c->o.http_host_header);
    r->server_name = slice_str(c->o.origin_server_name);
    r->ca_pool = slice_str(c->o.origin_ca_pool);
    r->no_tls_verify = c->o.no_tls_verify;
    r->no_chunked = c->o.no_chunked;
    r->connect_timeout = (int64_t)c->o.connect_timeout;
    r->tls_timeout = (int64_t)c->o.tls_timeout;
    r->response_timeout = (int64_t)c->o.response_timeout;
    r->idle_timeout = (int64_t)c->o.idle_timeout;
    r->tcp_keepalive = (int64_t)c->o.tcp_keepalive;
    r->no_happy_eyeballs = c->o.no_happy_eyeballs;
    r->keepalive_connections = c->o.keepalive_connections;
    r->keepalive_timeout = (int64_t)c->o.keepalive_timeout;
    r->bastion = c->o.bastion;
    r->http2 = c->o.http2_origin;
    r->proxy_address = slice_str(c->o.proxy_address);
    r->proxy_port = c->o.proxy_port;
    if (c->o.socks5)
        r->proxy_type = SLICE("socks");
}

/* A file's rules win over flags, as the reference has it; a flag given by hand is meant, though. */
bool cli_has_file_rules(const struct cli *c)
{
    bool is_meant = opt_source_of(&c->table, "url") == OPT_FROM_FLAG || c->o.hello_world ||
                    opt_source_of(&c->table, "bastion") == OPT_FROM_FLAG;
    return yaml_get(c->file, "ingress") != NULL && !is_meant;
}

int cli_ingress(struct cli *c, struct ingress **ret)
{
    struct origin_request request;
    const char *service = NULL;
    struct ingress *i = NULL;
    int r = 0;
    *ret = NULL;
    if (c->o.hello_world)
        service = "hello_world";
    else if (c->o.bastion)
        service = "bastion";
    else if (c->o.url[0] != 0)
        service = c->o.url;
    else if (c->o.unix_socket[0] != 0)
        service = arena_fmt(&c->arena, "unix:%s", c->o.unix_socket);
    bool has_rules = cli_has_file_rules(c);
    if (has_rules) {
        r = ingress_from_yaml(c->file, c->file_path, &i, &c->fault);
        c->is_file_broken = r < 0;
    } else if (service != NULL) {
        request_of_flags(c, &request);
        r = ingress_single(service, &request, &i, &c->fault);
    }
    if (r == 0 && i != NULL)
        r = ingress_load_tls(i, &c->fault);
    if (r == 0 && has_rules && plans_list(c) == NULL)
        cli_log_warnings(c);
    if (r < 0)
        ingress_unref(i);
    else
        *ret = i;
    return r;
}

/* ---- the edge of this machine ---- */

/* Whether an edge holds the directory's lock (control/datadir.h). Asks without taking it, so that
 * an edge may start meanwhile. Who may not read the lock believes the addresses. */
static bool is_running(struct cli *c, const char *dir)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    const char *path = arena_fmt(&c->arena, "%s/lock", dir);
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return true;
    bool is_locked = fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
    (void)close(fd);
    return is_locked;
}

static int read_addresses(struct cli *c, const char *dir, struct local_edge *ret)
{
    struct slice text;
    json_t *json;
    struct fault none;
    const char *path = arena_fmt(&c->arena, "%s/addresses.json", dir);
    struct fault before = c->fault;
    if (path == NULL || cli_read_file(c, path, false, &text) < 0 ||
        json_parse(text, &json, &none) < 0) {
        c->fault = before;
        return ERR_NOTFOUND;
    }
    ret->dir = dir;
    ret->tunnel = arena_copy(&c->arena, json_member_slice(json, "tunnel"));
    ret->local = arena_copy(&c->arena, json_member_slice(json, "local"));
    json_decref(json);
    return ret->tunnel.n > 0 && ret->local.n > 0 && is_running(c, dir) ? 0 : ERR_NOTFOUND;
}

static int find_local_edge(struct cli *c)
{
    if (c->o.data_dir[0] != 0)
        return read_addresses(c, c->o.data_dir, &c->local);
    int r = read_addresses(c, "./var", &c->local);
    return r == 0 ? 0 : read_addresses(c, "/var/lib/adit", &c->local);
}

int cli_local_edge(struct cli *c, struct local_edge *ret)
{
    if (!c->is_local_known)
        c->local_result = find_local_edge(c);
    c->is_local_known = true;
    if (c->local_result == 0)
        *ret = c->local;
    return c->local_result;
}
