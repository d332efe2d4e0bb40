/* adit tunnel create|list|info|delete|token|cleanup|route dns|login. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/account.h"
#include "crypto/keyfile.h"
#include "crypto/random.h"

static int usage_error(struct cli *c, const char *text)
{
    (void)fault_set(&c->fault, ERR_INVALID, "%s", text);
    (void)cli_complain(c);
    return EXIT_USAGE;
}

static bool wants_json(const struct cli *c)
{
    return slice_eq(slice_str(c->o.output), SLICE("json"));
}

static int print_json(json_t *value)
{
    char *text = json_dumps(value, JSON_INDENT(2));
    (void)printf("%s\n", text != NULL ? text : "");
    free(text);
    json_decref(value);
    return 0;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text != NULL ? text : "";
}

static const char *tunnel_path(struct cli *c, const struct account *a, const char *id,
                               const char *rest)
{
    return arena_fmt(&c->arena, "/accounts/%.*s/cfd_tunnel/%s%s", SLICE_FMT(a->cert.account), id,
                     rest);
}

/* ---- create ---- */

static int write_credentials(struct cli *c, const struct account *a, const char *token,
                             const char *id, const char **ret_path)
{
    struct credential cred;
    *ret_path = c->o.credentials_file[0] != 0 ? c->o.credentials_file
                                              : arena_fmt(&c->arena, "%s/%s.json", a->dir, id);
    int r = tunnel_token_read(slice_str(token), &c->arena, &cred, &c->fault);
    if (r < 0)
        return r;
    if (mkdir(a->dir, 0700) < 0 && access(a->dir, W_OK) < 0)
        return fault_set(&c->fault, ERR_IO,
                         "%s cannot be written; name a file with --credentials-file", a->dir);
    const char *text = credential_write(&cred, &c->arena);
    return text != NULL ? file_create(*ret_path, slice_str(text), 0400, &c->fault) : ERR_NOMEM;
}

int cmd_create(struct cli *c, int argc, char **argv)
{
    struct account a;
    json_t *result;
    uint8_t secret[32];
    char secret_text[BASE64_BYTES(32)];
    const char *path;
    if (argc != 1)
        return usage_error(c, "tunnel create needs one name: adit tunnel create NAME");
    int r = account_open(c, &a);
    if (r < 0)
        return cli_complain(c);
    random_bytes(secret, sizeof secret);
    (void)base64_encode(slice_of(secret, sizeof secret), BASE64_STD, true, secret_text);
    json_t *body = json_pack("{s:s,s:s}", "name", argv[0], "tunnel_secret",
                             c->o.secret[0] != 0 ? c->o.secret : secret_text);
    r = account_call(c, &a, "create the tunnel", "POST", tunnel_path(c, &a, "", ""), body, &result);
    json_decref(body);
    explicit_bzero(secret, sizeof secret);
    if (r == ERR_EXISTS)
        (void)fault_set(&c->fault, r, "tunnel with name already exists: %s", argv[0]);
    if (r < 0)
        return cli_complain(c);
    r = write_credentials(c, &a, text_of(result, "token"), text_of(result, "id"), &path);
    if (r < 0) {
        (void)cli_complain(c);
        (void)fprintf(stderr,
                      "adit: the tunnel %s was made, but its credentials were not written; adit "
                      "tunnel token %s has them\n",
                      text_of(result, "id"), argv[0]);
    } else if (wants_json(c)) {
        (void)json_object_del(result, "token");
        (void)json_object_del(result, "credentials_file");
        return print_json(result);
    } else {
        (void)printf("Tunnel credentials written to %s. Keep this file secret. To revoke these "
                     "credentials, delete the tunnel.\n\n"
                     "Created tunnel %s with id %s\n",
                     path, text_of(result, "name"), text_of(result, "id"));
    }
    json_decref(result);
    return r < 0 ? 1 : 0;
}

/* ---- list and info ---- */

int cmd_list(struct cli *c)
{
    struct account a;
    json_t *list, *t;
    size_t i;
    int r = account_open(c, &a);
    const char *path = arena_fmt(
        &c->arena, "/accounts/%.*s/cfd_tunnel?%s%s%s", SLICE_FMT(a.cert.account),
        c->o.show_deleted ? "" : "is_deleted=false", c->o.name[0] != 0 ? "&name=" : "", c->o.name);
    if (r == 0)
        r = account_call(c, &a, "list tunnels", "GET", path, NULL, &list);
    if (r < 0)
        return cli_complain(c);
    if (wants_json(c))
        return print_json(list);
    if (json_array_size(list) == 0)
        (void)printf("No tunnels were found for the given filter flags. You can use 'adit tunnel "
                     "create' to create a tunnel.\n");
    else
        (void)printf("%-36s  %-20s  %-27s  %s\n", "ID", "NAME", "CREATED", "CONNECTIONS");
    json_array_foreach(list, i, t)
    {
        size_t n = json_array_size(json_object_get(t, "connections"));
        char count[32] = "";
        if (n > 0)
            (void)snprintf(
                count, sizeof count, "%zux%s", n,
                text_of(json_array_get(json_object_get(t, "connections"), 0), "colo_name"));
        (void)printf("%-36s  %-20s  %-27s  %s\n", text_of(t, "id"), text_of(t, "name"),
                     text_of(t, "created_at"), count);
    }
    json_decref(list);
    return 0;
}

int cmd_info(struct cli *c, int argc, char **argv)
{
    struct account a;
    json_t *tunnel, *list, *k;
    size_t i;
    if (argc != 1)
        return usage_error(c, "tunnel info needs one tunnel: adit tunnel info NAME|ID");
    int r = account_open(c, &a);
    if (r == 0)
        r = account_find(c, &a, argv[0], &tunnel);
    if (r < 0)
        return cli_complain(c);
    r = account_call(c, &a, "list connectors", "GET",
                     tunnel_path(c, &a, text_of(tunnel, "id"), "/connections"), NULL, &list);
    if (r < 0) {
        json_decref(tunnel);
        return cli_complain(c);
    }
    if (wants_json(c)) {
        (void)json_object_set(tunnel, "conns", list);
        json_decref(list);
        return print_json(tunnel);
    }
    (void)printf("NAME:     %s\nID:       %s\nCREATED:  %s\nSTATUS:   %s\n\n",
                 text_of(tunnel, "name"), text_of(tunnel, "id"), text_of(tunnel, "created_at"),
                 text_of(tunnel, "status"));
    if (json_array_size(list) == 0)
        (void)printf("Your tunnel %s does not have any active connection.\n",
                     text_of(tunnel, "id"));
    else
        (void)printf("%-36s  %-27s  %-13s  %-10s  %-16s  %s\n", "CONNECTOR ID", "CREATED",
                     "ARCHITECTURE", "VERSION", "ORIGIN IP", "EDGE");
    json_array_foreach(list, i, k)
    {
        const json_t *conns = json_object_get(k, "conns"), *first = json_array_get(conns, 0);
        (void)printf("%-36s  %-27s  %-13s  %-10s  %-16s  %zux%s\n", text_of(k, "id"),
                     text_of(k, "run_at"), text_of(k, "arch"), text_of(k, "version"),
                     text_of(first, "origin_ip"), json_array_size(conns),
                     text_of(first, "colo_name"));
    }
    json_decref(list);
    json_decref(tunnel);
    return 0;
}

/* ---- one call each ---- */

/* Finds each tunnel and makes a call about it. */
static int for_each(struct cli *c, int argc, char **argv, const char *what, const char *method,
                    const char *rest, const char *said)
{
    struct account a;
    json_t *tunnel, *result;
    int r = account_open(c, &a);
    for (int i = 0; i < argc && r == 0; i++) {
        r = account_find(c, &a, argv[i], &tunnel);
        if (r < 0)
            break;
        const char *id = arena_str(&c->arena, slice_str(text_of(tunnel, "id")));
        json_decref(tunnel);
        r = account_call(c, &a, what, method, tunnel_path(c, &a, id, rest), NULL, &result);
        if (r < 0)
            break;
        if (json_is_string(result))
            (void)printf("%s\n", json_string_value(result));
        else
            (void)fprintf(stderr, "%s %s\n", said, argv[i]);
        json_decref(result);
        /* The credentials of a tunnel that is gone are of no use. */
        if (slice_eq(slice_str(method), SLICE("DELETE")) && rest[0] != '/')
            (void)unlink(arena_fmt(&c->arena, "%s/%s.json", a.dir, id));
    }
    return r < 0 ? cli_complain(c) : 0;
}

int cmd_delete(struct cli *c, int argc, char **argv)
{
    if (argc < 1)
        return usage_error(c, "tunnel delete needs a tunnel: adit tunnel delete NAME|ID…");
    return for_each(c, argc, argv, "delete the tunnel", "DELETE", c->o.force ? "?cascade=true" : "",
                    "Deleted tunnel");
}

int cmd_token(struct cli *c, int argc, char **argv)
{
    if (argc != 1)
        return usage_error(c, "tunnel token needs one tunnel: adit tunnel token NAME|ID");
    return for_each(c, argc, argv, "get the token", "GET", "/token", "");
}

int cmd_cleanup(struct cli *c, int argc, char **argv)
{
    if (argc < 1)
        return usage_error(c, "tunnel cleanup needs a tunnel: adit tunnel cleanup NAME|ID…");
    const char *rest = c->o.connector_id[0] != 0
                           ? arena_fmt(&c->arena, "/connections?client_id=%s", c->o.connector_id)
                           : "/connections";
    return for_each(c, argc, argv, "clean up connections", "DELETE", rest,
                    "Cleaned up connections of");
}

int cmd_route_dns(struct cli *c, int argc, char **argv)
{
    struct account a;
    json_t *tunnel, *result;
    if (argc != 2)
        return usage_error(
            c, "route dns needs a tunnel and a hostname: adit tunnel route dns NAME|ID HOSTNAME");
    int r = account_open(c, &a);
    if (r == 0)
        r = account_find(c, &a, argv[0], &tunnel);
    if (r < 0)
        return cli_complain(c);
    const char *path = arena_fmt(&c->arena, "/zones/%.*s/tunnels/%s/routes", SLICE_FMT(a.cert.zone),
                                 text_of(tunnel, "id"));
    json_t *body = json_pack("{s:s,s:s,s:b}", "type", "dns", "user_hostname", argv[1],
                             "overwrite_existing", c->o.force);
    r = account_call(c, &a, "add route", "PUT", path, body, &result);
    json_decref(body);
    if (r < 0) {
        json_decref(tunnel);
        return cli_complain(c);
    }
    bool is_same = slice_eq(slice_str(text_of(result, "cname")), SLICE("unchanged"));
    (void)fprintf(stderr, "%s %s%s\n", text_of(result, "name"),
                  is_same ? "is already configured to route to your tunnel "
                          : "now routes to your tunnel ",
                  text_of(tunnel, "id"));
    json_decref(result);
    json_decref(tunnel);
    return 0;
}

/* ---- login ---- */

int cmd_login(struct cli *c)
{
    struct account a;
    struct local_edge local;
    const char *home = getenv("HOME"), *path;
    if (cli_local_edge(c, &local) < 0 || home == NULL) {
        (void)fault_set(&c->fault, ERR_NOTFOUND,
                        "no edge runs on this machine; on the edge's machine run adit-edge cert "
                        "--data-dir DIR > "
                        "cert.pem and bring that file to ~/.cloudflared/cert.pem here");
        return cli_complain(c);
    }
    path = c->o.origincert[0] != 0 ? c->o.origincert
                                   : arena_fmt(&c->arena, "%s/.cloudflared/cert.pem", home);
    if (access(path, F_OK) == 0) {
        (void)fault_set(
            &c->fault, ERR_EXISTS,
            "You have an existing certificate at %s which login would overwrite. If this is "
            "intentional, please move or delete that file then run this command again.",
            path);
        return cli_complain(c);
    }
    c->o.origincert = "";
    int r = account_open(c, &a);
    const char *text = r == 0 ? origin_cert_write(&a.cert, &c->arena) : NULL;
    if (r == 0) {
        (void)mkdir(arena_fmt(&c->arena, "%s/.cloudflared", home), 0700);
        r = file_create(path, slice_str(text), 0600, &c->fault);
    }
    if (r < 0)
        return cli_complain(c);
    (void)printf("You have successfully logged in.\nThe certificate was stored at %s\n", path);
    return 0;
}
