/* /diag/configuration, /diag/tunnel and /diag/system, in the reference's shapes (docs/protocol.md
 * §15). */
#include <inttypes.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/local_http.h"
#include "codec/json.h"

#define DISKS_MAX 64

/* A text as a JSON string. */
static void add_json(struct strb *to, const char *text)
{
    json_t *s = json_stringn_nocheck(text, strlen(text));
    char *p = s != NULL ? json_dumps(s, JSON_ENCODE_ANY | JSON_ENSURE_ASCII) : NULL;
    strb_str(to, p != NULL ? p : "\"\"");
    free(p);
    json_decref(s);
}

/* ---- /diag/configuration ---- */

/* What was set, but for secrets: of those it is not even said that they were. */
static bool is_told(const struct opt *o, enum opt_source source)
{
    static const char *const SECRET[] = { "token", "credentials-contents", "secret" };
    for (size_t i = 0; i < sizeof SECRET / sizeof SECRET[0]; i++)
        if (slice_starts(slice_str(o->names), slice_str(SECRET[i])) &&
            !slice_starts(slice_str(o->names), SLICE("token-file")))
            return false;
    return source != OPT_FROM_DEFAULT;
}

static void add_list(struct strb *to, const struct opt_list *l)
{
    struct strb all;
    strb_init(&all, BODY_BYTES_MAX);
    for (size_t i = 0; i < l->count; i++)
        strb_fmt(&all, "%s%s", i > 0 ? " " : "[", l->items[i]);
    strb_str(&all, l->count > 0 ? "]" : "[]");
    add_json(to, all.err == 0 ? all.p : "");
    strb_done(&all);
}

void diag_configuration(struct cli *c, struct strb *to)
{
    strb_str(to, "{");
    for (size_t i = 0; i < c->table.count; i++) {
        const struct opt *o = &c->table.rows[i];
        if (!is_told(o, c->table.sources[i]))
            continue;
        struct slice rest = slice_str(o->names), name;
        struct arena arena;
        (void)slice_split(&rest, ',', &name);
        if (slice_starts(name, SLICE(".")))
            name = slice_sub(name, 1, SIZE_MAX);
        strb_fmt(to, "\"%.*s\":", SLICE_FMT(name));
        arena_init(&arena, 65536);
        char *key = arena_str(&arena, name);
        if (o->kind == OPT_LIST)
            add_list(
                to, (const struct opt_list *)(const void *)((const char *)c->table.values + o->at));
        else
            add_json(to, key != NULL ? opt_text(&c->table, key, &arena) : "");
        arena_done(&arena);
        strb_str(to, ",");
    }
    strb_fmt(to, "\"uid\":\"%u\"}\n", (unsigned)getuid());
}

/* ---- /diag/tunnel ---- */

static void add_tunnel(const struct local_http *h, const struct connector *c, struct strb *to)
{
    strb_fmt(to, "{\"tunnelID\":\"%s\",\"connectorID\":\"%s\",\"connections\":[",
             connector_tunnel(c), h->id);
    connector_diagnose(c, to);
    strb_str(to, "],\"icmp_sources\":[]}"); /* no ICMP is carried */
}

/* The reference's object; where there are several tunnels, a list of such. */
void diag_tunnel(const struct local_http *h, struct strb *to)
{
    const struct connectors *all = h->connectors;
    for (size_t i = 0; i < all->count; i++) {
        strb_str(to, i > 0 ? "," : all->count > 1 ? "[" : "");
        add_tunnel(h, all->list[i], to);
    }
    strb_str(to, all->count > 1 ? "]\n" : "\n");
}

/* ---- /diag/system ---- */

/* The number behind a name in /proc/meminfo, KiB; 0 when it is not there. */
static uint64_t memory_of(const char *name)
{
    char line[256];
    uint64_t n = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f != NULL && n == 0 && fgets(line, sizeof line, f) != NULL) {
        struct slice s = slice_str(line);
        if (!slice_starts(s, slice_str(name)))
            continue;
        s = slice_trim(slice_sub(s, strlen(name), SIZE_MAX));
        if (slice_u64(slice_sub(s, 0, slice_find(s, ' ')), UINT64_MAX, &n) < 0)
            n = 0;
    }
    if (f != NULL)
        (void)fclose(f);
    return n;
}

static void add_disks(struct strb *to)
{
    FILE *f = setmntent("/proc/self/mounts", "re");
    struct mntent *m, room;
    char text[4096];
    const char *comma = "";
    for (unsigned i = 0; f != NULL && i < DISKS_MAX; i++) {
        struct statvfs st;
        m = getmntent_r(f, &room, text, sizeof text);
        if (m == NULL)
            break;
        if (statvfs(m->mnt_dir, &st) < 0 || st.f_blocks == 0)
            continue;
        uint64_t size = st.f_blocks * (st.f_frsize / 512) / 2;
        strb_str(to, comma);
        strb_str(to, "{\"name\":");
        add_json(to, m->mnt_fsname);
        strb_fmt(to, ",\"sizeMaximum\":%" PRIu64 ",\"sizeCurrent\":%" PRIu64 "}", size,
                 size - st.f_bfree * (st.f_frsize / 512) / 2);
        comma = ",";
    }
    if (f != NULL)
        (void)endmntent(f);
}

/* Allocated and largest count of open files of the whole machine; zero where the kernel does not
 * say. */
static void files(uint64_t *ret_open, uint64_t *ret_max)
{
    FILE *f = fopen("/proc/sys/fs/file-nr", "re");
    *ret_open = *ret_max = 0;
    char line[128] = "";
    struct slice rest, open, free_of_them, max;
    if (f == NULL)
        return;
    if (fgets(line, sizeof line, f) != NULL) {
        rest = slice_trim(slice_sub(slice_str(line), 0, slice_find(slice_str(line), '\n')));
        if (!slice_split(&rest, '\t', &open) || !slice_split(&rest, '\t', &free_of_them) ||
            !slice_split(&rest, '\t', &max) || slice_u64(open, UINT64_MAX, ret_open) < 0 ||
            slice_u64(max, UINT64_MAX, ret_max) < 0)
            *ret_open = *ret_max = 0;
    }
    (void)fclose(f);
}

void diag_system(struct strb *to)
{
    struct utsname u;
    uint64_t open, max, all = memory_of("MemTotal:"), free_memory = memory_of("MemAvailable:");
    if (uname(&u) < 0)
        u = (struct utsname){ 0 };
    files(&open, &max);
    strb_fmt(to,
             "{\"info\":{\"memoryMaximum\":%" PRIu64 ",\"memoryCurrent\":%" PRIu64
             ",\"fileDescriptorMaximum\":%" PRIu64 ",\"fileDescriptorCurrent\":%" PRIu64,
             all, all - free_memory, max, open);
    const struct {
        const char *key, *value;
    } TEXTS[] = { { "osSystem", u.sysname },     { "hostName", u.nodename },
                  { "osVersion", u.release },    { "osRelease", u.version },
                  { "architecture", u.machine }, { "cloudflaredVersion", ADIT_VERSION },
                  { "goVersion", "" },           { "goArch", "" } };
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        strb_fmt(to, ",\"%s\":", TEXTS[i].key);
        add_json(to, TEXTS[i].value);
    }
    strb_str(to, ",\"disk\":[");
    add_disks(to);
    strb_str(to, "]},\"errors\":{}}\n");
}
