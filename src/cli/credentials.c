/* Who a tunnel is: its token, or its credentials, which may have to be found. */
#include <unistd.h>

#include "base/err.h"
#include "cli/account.h"
#include "cli/plan.h"
#include "net/resolve.h"

#define TOKEN_BYTES_MAX 65536

static int read_token_text(struct cli *c, const struct tunnel_plan *p, struct slice *ret)
{
    if (p->token[0] != 0) {
        *ret = slice_str(p->token);
        return 0;
    }
    if (p->token_file[0] != '-' || p->token_file[1] != 0)
        return cli_read_file(c, p->token_file, false, ret);
    char *text = arena_alloc(&c->arena, TOKEN_BYTES_MAX);
    size_t n = text != NULL ? fread(text, 1, TOKEN_BYTES_MAX, stdin) : 0;
    *ret = slice_of(text, n);
    return n > 0 ? 0 : fault_set(&c->fault, ERR_IO, "no token came on standard input");
}

static struct slice strip(struct slice s)
{
    while (s.n > 0 && (s.p[0] <= ' '))
        s = slice_sub(s, 1, SIZE_MAX);
    while (s.n > 0 && s.p[s.n - 1] <= ' ')
        s.n--;
    return s;
}

static int credential_of_token(struct cli *c, const struct tunnel_plan *p, struct credential *cred)
{
    struct slice text;
    int r = read_token_text(c, p, &text);
    return r < 0 ? r : tunnel_token_read(strip(text), &c->arena, cred, &c->fault);
}

/* The id of the tunnel that is meant, looked up by name at the API when it is no id. */
static int tunnel_id(struct cli *c, const char *ref, char id[static UUID_TEXT_BYTES])
{
    struct account a;
    struct uuid uuid;
    if (uuid_parse(slice_str(ref), &uuid) == 0) {
        (void)uuid_text(&uuid, id);
        return 0;
    }
    int r = account_open(c, &a);
    /* A thread that looks up names must not be there before confinement. */
    resolve_in_place(true);
    if (r == 0)
        r = account_id(c, &a, ref, id);
    resolve_in_place(false);
    return r;
}

static int find_credentials(struct cli *c, const struct tunnel_plan *p, const char *id,
                            const char **ret)
{
    const char *name = arena_fmt(&c->arena, "%s.json", id);
    *ret = p->credentials_file[0] != 0 ? p->credentials_file : NULL;
    if (*ret == NULL && c->o.origincert[0] != 0) {
        struct slice path = slice_str(c->o.origincert);
        size_t slash = slice_find_last(path, '/');
        const char *beside =
            slash < path.n ? arena_fmt(&c->arena, "%.*s/%s", (int)slash, c->o.origincert, name)
                           : name;
        if (access(beside, R_OK) == 0)
            *ret = beside;
    }
    if (*ret == NULL)
        *ret = cli_find_file(c, name);
    return *ret != NULL
               ? 0
               : fault_set(&c->fault, ERR_NOTFOUND,
                           "the credentials of tunnel %s were not found; name their file with "
                           "--credentials-file, or use its token: adit tunnel token %s",
                           id, id);
}

/* The text of the credentials that were given by --credentials-contents or --credentials-file, or
 * of those that are found by the tunnel's id. *ret_path is for messages. */
static int read_credentials(struct cli *c, const struct tunnel_plan *p,
                            char id[static UUID_TEXT_BYTES], struct slice *ret,
                            const char **ret_path)
{
    const char *ref = p->ref;
    int r = 0;
    *ret_path = "--credentials-contents";
    if (p->credentials_contents[0] != 0) {
        *ret = slice_str(p->credentials_contents);
        return 0;
    }
    if (p->credentials_file[0] == 0)
        r = ref != NULL ? tunnel_id(c, ref, id)
                        : fault_set(&c->fault, ERR_INVALID,
                                    "say which tunnel to run: adit tunnel run NAME|ID, --token, or "
                                    "tunnel: in the configuration file");
    if (r == 0)
        r = find_credentials(c, p, id, ret_path);
    return r == 0 ? cli_read_file(c, *ret_path, false, ret) : r;
}

/* Names are looked up at the API only when the credentials do not say whose they are. */
static int credential_of_file(struct cli *c, const struct tunnel_plan *p, struct credential *cred)
{
    const char *ref = p->ref;
    char id[UUID_TEXT_BYTES] = "";
    const char *path;
    struct slice json;
    struct uuid given;
    bool has_id = false;
    int r = read_credentials(c, p, id, &json, &path);
    if (r < 0)
        return r;
    r = credential_read(json, &c->arena, cred, &has_id, &c->fault);
    if (r < 0) {
        (void)fault_at(&c->fault, path, 0, 0);
        return r;
    }
    if (ref != NULL && uuid_parse(slice_str(ref), &given) == 0) {
        cred->tunnel = given;
        return 0;
    }
    if (has_id)
        return 0;
    if (ref == NULL)
        return fault_set(&c->fault, ERR_INVALID,
                         "%s does not say of which tunnel it is: adit tunnel run ID", path);
    r = tunnel_id(c, ref, id);
    return r == 0 && uuid_parse(slice_str(id), &cred->tunnel) < 0 ? ERR_PROTO : r;
}

int credential_find(struct cli *c, const struct tunnel_plan *p, struct credential *ret)
{
    bool has_token = p->token[0] != 0 || p->token_file[0] != 0;
    return has_token ? credential_of_token(c, p, ret) : credential_of_file(c, p, ret);
}
