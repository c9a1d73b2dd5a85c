#ifndef EAPU_PINS_H
#define EAPU_PINS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t port;
    uint32_t number;
} pin_t;

void pin_output(pin_t pin, bool high);
void pin_input(pin_t pin);  /* pulled down */
void pin_analog(pin_t pin);
void pin_alternate(pin_t pin, uint32_t function); /* pulled down while nobody drives it */
void pin_set(pin_t pin, bool high);
bool pin_get(pin_t pin);

#endif
