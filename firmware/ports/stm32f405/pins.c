#include "pins.h"

#include "registers.h"

enum { MODE_INPUT, MODE_OUTPUT, MODE_ALTERNATE, MODE_ANALOG };
enum { PULL_NONE, PULL_UP, PULL_DOWN };
enum { SPEED_HIGH = 2 };

static void two_bits(volatile uint32_t *word, pin_t pin, uint32_t value)
{
    *word = (*word & ~(3u << (2 * pin.number))) | (value << (2 * pin.number));
}

void pin_output(pin_t pin, bool high)
{
    pin_set(pin, high);
    two_bits(&GPIO_OSPEEDR(pin.port), pin, SPEED_HIGH);
    two_bits(&GPIO_MODER(pin.port), pin, MODE_OUTPUT);
}

void pin_input(pin_t pin)
{
    two_bits(&GPIO_PUPDR(pin.port), pin, PULL_DOWN);
    two_bits(&GPIO_MODER(pin.port), pin, MODE_INPUT);
}

void pin_analog(pin_t pin)
{
    two_bits(&GPIO_MODER(pin.port), pin, MODE_ANALOG);
}

void pin_alternate(pin_t pin, uint32_t function)
{
    volatile uint32_t *word = &GPIO_AFR(pin.port, pin.number / 8);
    const uint32_t shift = 4 * (pin.number % 8);
    *word = (*word & ~(15u << shift)) | (function << shift);
    two_bits(&GPIO_PUPDR(pin.port), pin, PULL_DOWN);
    two_bits(&GPIO_OSPEEDR(pin.port), pin, SPEED_HIGH);
    two_bits(&GPIO_MODER(pin.port), pin, MODE_ALTERNATE);
}

void pin_set(pin_t pin, bool high)
{
    GPIO_BSRR(pin.port) = 1u << (high ? pin.number : pin.number + 16);
}

bool pin_get(pin_t pin)
{
    return GPIO_IDR(pin.port) >> pin.number & 1u;
}
