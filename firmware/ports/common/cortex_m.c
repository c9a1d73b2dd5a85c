#include "cortex_m.h"

#include <stddef.h>

#define SYST_CSR REGISTER(0xE000E010u)
#define SYST_RVR REGISTER(0xE000E014u)
#define NVIC_ISER(n) REGISTER(0xE000E100u + 4u * (n))
#define SCB_AIRCR REGISTER(0xE000ED0Cu)
#define SCB_CPACR REGISTER(0xE000ED88u)

extern uint32_t image_data[], image_data_end[], image_data_source[], image_bss[], image_bss_end[];


static size_t words(const uint32_t *from, const uint32_t *to)
{
    return ((uintptr_t)to - (uintptr_t)from) / sizeof(uint32_t);
}

void reset_handler(void)
{
    size_t i;
#ifdef __ARM_FP
    SCB_CPACR |= 0xFu << 20; /* the floating-point unit, before any code may use it */
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    for (i = 0; i < words(image_data, image_data_end); i++)
        image_data[i] = image_data_source[i];
    for (i = 0; i < words(image_bss, image_bss_end); i++)
        image_bss[i] = 0;
    (void)main();
    system_reset();
}

void fault_handler(void)
{
    port_cut();
    system_reset();
}

void tick_start(uint32_t hz)
{
    SYST_RVR = hz / 1000u - 1u;
    TICK_LEFT = 0; /* any write clears it */
    SYST_CSR = 7; /* core clock, interrupt, on */
}

void sleep_unless_filled(const ring_t *ring)
{
    const uint32_t mask = interrupts_off();
    if (ring_count(ring) == 0)
        __asm volatile("wfi");
    interrupts_restore(mask);
}

void interrupt_enable(uint32_t number)
{
    NVIC_ISER(number / 32u) = 1u << (number % 32u);
}

_Noreturn void system_reset(void)
{
    __asm volatile("dsb" ::: "memory");
    SCB_AIRCR = 0x05FA0004u;
    for (;;)
        ;
}

uint32_t jitter(const volatile uint32_t *clock)
{
    uint32_t hash = 2166136261u;
    for (int i = 0; i < 256; i++) {
        const uint32_t before = *clock;
        uint32_t turns = 0, now;
        while ((now = *clock) == before && turns < 1000)
            turns++;
        hash = ((hash ^ now) * 16777619u ^ turns) * 16777619u;
    }
    return hash;
}
