#include "tracer/config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

struct reader {
    struct options *o;
    yaml_document_t doc;
    const char *path;
};

_Noreturn static void wrong(const struct reader *r, const yaml_node_t *at, const char *what,
                            const char *word, const char *advice)
{
    die(EXIT_USAGE, "%s:%zu: %s '%s'; %s", r->path, at->start_mark.line + 1, what, word, advice);
}

static const char *scalar(const struct reader *r, const yaml_node_t *key, const yaml_node_t *node)
{
    const char *name = (const char *)key->data.scalar.value;
    if (node->type != YAML_SCALAR_NODE)
        wrong(r, node, "not a single value:", name, "write KEY: VALUE");
    const char *text = (const char *)node->data.scalar.value;
    if (strlen(text) != node->data.scalar.length || !text[0])
        wrong(r, node, "no usable value for", name, "write KEY: VALUE, or take the key out");
    return text;
}

static const char *keep(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        die(EXIT_FUSS, "out of memory: cannot start; free some memory and try again");
    return copy;
}

static void read_lowers(struct reader *r, const yaml_node_t *key, yaml_node_t *node)
{
    char where[PATH_MAX + 32];
    snprintf(where, sizeof(where), "%s:%zu: lowerdir", r->path, node->start_mark.line + 1);
    if (node->type != YAML_SEQUENCE_NODE) {
        options_set_lowers(r->o, scalar(r, key, node), where);
        return;
    }
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++)
        options_add_lower(r->o, scalar(r, key, yaml_document_get_node(&r->doc, *i)), where);
}

static void read_pair(struct reader *r, yaml_node_t *key, yaml_node_t *value)
{
    if (key->type != YAML_SCALAR_NODE)
        wrong(r, key, "a key that is no word", "?", "use mountpoint, upperdir, lowerdir, whiteout");
    const char *name = (const char *)key->data.scalar.value;
    if (strcmp(name, "mountpoint") == 0) {
        r->o->mountpoint = keep(scalar(r, key, value));
    } else if (strcmp(name, "upperdir") == 0) {
        r->o->upperdir = keep(scalar(r, key, value));
    } else if (strcmp(name, "lowerdir") == 0) {
        read_lowers(r, key, value);
    } else if (strcmp(name, "whiteout") == 0) {
        char where[PATH_MAX + 32];
        snprintf(where, sizeof(where), "%s:%zu", r->path, value->start_mark.line + 1);
        options_set_style(r->o, scalar(r, key, value), where);
    } else {
        wrong(r, key, "unknown key", name, "use mountpoint, upperdir, lowerdir, whiteout");
    }
}

static void read_document(struct reader *r)
{
    yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    if (!root)
        return; /* an empty file */
    if (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0)
        return;
    if (root->type != YAML_MAPPING_NODE)
        wrong(r, root, "not a list of", "KEY: VALUE",
              "use mountpoint, upperdir, lowerdir, whiteout");
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
         p++)
        read_pair(r, yaml_document_get_node(&r->doc, p->key),
                  yaml_document_get_node(&r->doc, p->value));
}

void config_read(struct options *o)
{
    const char *home = getenv("HOME");
    char path[PATH_MAX];
    yaml_parser_t parser;
    struct reader r = {.o = o, .path = path};
    if (!home || home[0] != '/' ||
        (size_t)snprintf(path, sizeof(path), "%s/.fuss", home) >= sizeof(path))
        return;
    FILE *file = fopen(path, "re");
    if (!file) {
        /* A home that is not ours, as after setpriv, is no home to read from. */
        if (errno != ENOENT && errno != ENOTDIR && access(path, F_OK) == 0)
            die(EXIT_USAGE, "%s: cannot read it; make it readable or remove it", path);
        return;
    }
    if (!yaml_parser_initialize(&parser))
        die(EXIT_FUSS, "out of memory: cannot start; free some memory and try again");
    yaml_parser_set_input_file(&parser, file);
    if (!yaml_parser_load(&parser, &r.doc))
        die(EXIT_USAGE, "%s:%zu: not valid YAML: %s; correct the line", path,
            parser.problem_mark.line + 1, parser.problem ? parser.problem : "unreadable");
    read_document(&r);
    yaml_document_delete(&r.doc);
    yaml_parser_delete(&parser);
    fclose(file);
}
