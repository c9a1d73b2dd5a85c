#include "chip.h"

#include "pins.h"
#include "port.h"
#include "protocol.h"
#include "registers.h"
#include "ring.h"
#include "wiring.h"

#define CORE_HZ 168000000u
#define APB2_HZ 84000000u
#define HOST_BAUD 1000000u
enum { PATIENCE = 1000000 }; /* turns of a loop that waits for a part of the chip: tens of milliseconds */

static uint8_t in_bytes[HOST_RX_BYTES], out_bytes[4096];
static ring_t in = {in_bytes, sizeof in_bytes, 0, 0}, out = {out_bytes, sizeof out_bytes, 0, 0};
static volatile uint32_t ticks, ticks_high; /* milliseconds since boot */

static bool await(volatile uint32_t *status, uint32_t mask, uint32_t value)
{
    for (uint32_t i = 0; i < PATIENCE; i++)
        if ((*status & mask) == value)
            return true;
    return false;
}

bool chip_emulated(void)
{
    return (RCC_CR & (RCC_CR_HSION | RCC_CR_HSIRDY)) == 0; /* on a chip that runs, at reset, both are 1 */
}

/* 168 MHz from the crystal or, where there is none, from the chip's own 16 MHz, which is good to 1 %. */
static void clocks_start(void)
{
    const uint32_t divide_by_7_for_48_mhz = 7u << 24, times_336 = 336u << 6;
    uint32_t source = HSI_HZ / 1000000u;

    RCC_CR |= RCC_CR_HSEON;
    if (await(&RCC_CR, RCC_CR_HSERDY, RCC_CR_HSERDY))
        source = RCC_PLLCFGR_HSE | (HSE_HZ / 1000000u);
    RCC_PLLCFGR = divide_by_7_for_48_mhz | times_336 | source; /* input divided to 1 MHz; 336 MHz / 2 */
    RCC_CR |= RCC_CR_PLLON;
    if (!await(&RCC_CR, RCC_CR_PLLRDY, RCC_CR_PLLRDY))
        system_reset();
    FLASH_ACR = FLASH_ACR_5_WAIT_STATES | FLASH_ACR_PREFETCH_CACHES;
    RCC_CFGR = RCC_CFGR_APB1_DIV4 | RCC_CFGR_APB2_DIV2;
    RCC_CFGR |= RCC_CFGR_SW_PLL;
    if (!await(&RCC_CFGR, RCC_CFGR_SWS, RCC_CFGR_SWS_PLL))
        system_reset();
}

void chip_start(void)
{
    if (!chip_emulated())
        clocks_start();
    RCC_AHB1ENR |= RCC_AHB1_GPIOA | RCC_AHB1_GPIOB | RCC_AHB1_GPIOC;
    RCC_AHB2ENR |= RCC_AHB2_RNG;
    RCC_APB1ENR |= RCC_APB1_TIM5 | RCC_APB1_SPI2 | RCC_APB1_SPI3 | RCC_APB1_DAC;
    RCC_APB2ENR |= RCC_APB2_USART1 | RCC_APB2_SPI1;
    (void)RCC_APB2ENR; /* a clock needs two cycles before its part is used */
    tick_start(CORE_HZ);
}

void tick_handler(void)
{
    ticks = ticks + 1;
    if (ticks == 0)
        ticks_high = ticks_high + 1;
}

uint64_t port_now_us(void)
{
    static uint64_t latest_us;
    uint32_t low, high, left;
    uint64_t now_us;
    do {
        high = ticks_high;
        low = ticks;
        left = TICK_LEFT;
    } while (low != ticks || high != ticks_high);
    now_us = (((uint64_t)high << 32) | low) * 1000u + (CORE_HZ / 1000u - 1u - left) / (CORE_HZ / 1000000u);
    if (now_us > latest_us) /* in QEMU the counter may wrap a little before the tick comes */
        latest_us = now_us;
    return latest_us;
}

uint8_t chip_reset_cause(void)
{
    const uint32_t cause = RCC_CSR;
    RCC_CSR |= RCC_CSR_RMVF;
    if (cause & (RCC_CSR_IWDG | RCC_CSR_WWDG))
        return RESET_CAUSE_WATCHDOG;
    if (cause & RCC_CSR_SOFT)
        return RESET_CAUSE_SOFTWARE;
    if (cause & (RCC_CSR_POR | RCC_CSR_BOR))
        return RESET_CAUSE_POWER;
    return cause & RCC_CSR_PIN ? RESET_CAUSE_PIN : RESET_CAUSE_UNKNOWN;
}

uint32_t chip_random(void)
{
    RNG_CR = RNG_CR_RNGEN;
    if (chip_emulated() || !await(&RNG_SR, RNG_SR_DRDY, RNG_SR_DRDY))
        return jitter(&TICK_LEFT);
    return jitter(&TICK_LEFT) ^ RNG_DR;
}

void chip_serial(char text[17])
{
    static const char digits[] = "0123456789abcdef";
    uint32_t half[2] = {0, 0};
    if (!chip_emulated()) { /* nothing is at that address in QEMU, and reading it faults */
        half[0] = UNIQUE_ID(0) ^ UNIQUE_ID(2);
        half[1] = UNIQUE_ID(1) ^ UNIQUE_ID(2);
    }
    for (uint32_t i = 0; i < 16; i++)
        text[i] = digits[half[i / 8] >> (28 - 4 * (i % 8)) & 15u];
    text[16] = '\0';
}

void watchdog_start(void)
{
    IWDG_KR = 0x5555u; /* unlocks the next two */
    IWDG_PR = 3u;      /* 32 kHz / 32 */
    IWDG_RLR = 1000u;
    IWDG_KR = 0xCCCCu;
    watchdog_feed();
}

void watchdog_feed(void)
{
    IWDG_KR = 0xAAAAu;
}

void host_start(void)
{
    pin_alternate(PIN_HOST_TX, 7);
    pin_alternate(PIN_HOST_RX, 7);
    USART1_BRR = APB2_HZ / HOST_BAUD;
    USART1_CR1 = USART_CR1_UE | USART_CR1_TE | USART_CR1_RE | USART_CR1_RXNEIE;
    interrupt_enable(IRQ_USART1);
}

/* Interrupts are off, or this is the handler. */
static void pump(void)
{
    uint8_t byte;
    while (USART1_SR & USART_SR_TXE && ring_take(&out, &byte))
        USART1_DR = byte;
    if (ring_count(&out) > 0)
        USART1_CR1 |= USART_CR1_TXEIE;
    else
        USART1_CR1 &= ~(uint32_t)USART_CR1_TXEIE;
}

void host_handler(void)
{
    while (USART1_SR & (USART_SR_RXNE | USART_SR_ORE)) /* reading both registers clears both */
        (void)ring_put(&in, (uint8_t)USART1_DR);
    pump();
}

/* Interrupts stay on while the frame is copied: a byte comes in every 10 us. */
void port_send(const uint8_t *bytes, size_t count)
{
    uint32_t mask;
    if (count > ring_room(&out))
        return;
    for (size_t i = 0; i < count; i++)
        (void)ring_put(&out, bytes[i]);
    mask = interrupts_off();
    pump();
    interrupts_restore(mask);
}

size_t host_receive(uint8_t *bytes, size_t room)
{
    return ring_take_many(&in, bytes, room);
}

void host_sleep(void)
{
    sleep_unless_filled(&in);
}
