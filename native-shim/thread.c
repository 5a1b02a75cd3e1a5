/*
 * How the kernel schedules the calling thread.
 */
#include "shim.h"

#include <errno.h>
#include <sched.h>

/* scheduleBatch(): the thread takes its share of the processor as ever, but no longer interrupts another when it wakes (sched(7), SCHED_BATCH). */
napi_value schedule_batch(napi_env env, napi_callback_info info) {
  struct call call;
  struct sched_param parameters = {.sched_priority = 0};
  if (!call_begin(&call, env, info, "scheduleBatch", 0)) return NULL;
  if (sched_setscheduler(0, SCHED_BATCH, &parameters) < 0) return fail(&call, errno, "sched_setscheduler", "SCHED_BATCH");
  return NULL;
}
