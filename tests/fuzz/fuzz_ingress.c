/* Configuration files: YAML, rules, regular expressions; and a match against what was accepted. */
#include "connector/ingress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct yaml_node *root = NULL;
    struct ingress *ingress = NULL;
    struct fault fault;
    arena_init(&arena, 16 * 1024 * 1024);
    if (yaml_parse(slice_of(data, size), "fuzz", &arena, &root, &fault) == 0 &&
        ingress_from_yaml(root, "fuzz", &ingress, &fault) == 0)
        (void)ingress_match(ingress, SLICE("a.example.com:80"), SLICE("/some/path.jpg"));
    ingress_unref(ingress);
    arena_done(&arena);
    return 0;
}
