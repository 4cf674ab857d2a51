#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs phalanx on all hosts of a Slurm job, or of a list. Within Slurm it passes signals on, and puts the job back into the
# queue when it was told to stop or lost a host: started again, the same command goes on from the newest checkpoint. A server
# runs on the first host and starts its ranks on all of them; SIGTERM makes it answer what it has and end.
#
# usage: launch/job.sh COMMAND [options], as of phalanx; called by slurm/*.sbatch
#
# environment, all optional:
#   PHALANX_LAUNCHER   srun (the default within Slurm) or mpirun
#   PHALANX_HOSTS      without Slurm: node1:2,node2:2 runs two ranks on each of these hosts, which mpirun reaches by ssh
#   PHALANX_BINARY     the program, at a path that all hosts see (build/release/bin/phalanx)
#   PHALANX_RESTARTS   how often a job that lost a host is put back into the queue (10)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
phalanx=${PHALANX_BINARY:-$root/build/release/bin/phalanx}
job=${SLURM_JOB_ID:-}

say() { echo "job.sh: $*"; }

# mpirun and its daemons notice a silent host after 5 + 3 x 1 seconds; Open MPI's own settings make that 8 minutes.
export OMPI_MCA_oob_tcp_keepalive_time=${OMPI_MCA_oob_tcp_keepalive_time:-5}
export OMPI_MCA_oob_tcp_keepalive_intvl=${OMPI_MCA_oob_tcp_keepalive_intvl:-1}
export OMPI_MCA_oob_tcp_keepalive_probes=${OMPI_MCA_oob_tcp_keepalive_probes:-3}

# How Slurm's PMIx plugin lets ranks wait for one another in MPI_Init. Left to itself it uses its tree, which may let some go on
# before all are there, and Open MPI crashes on a message that comes so early: in one of fifty starts on a busy machine.
export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-ring}

choose_launcher() {
  local cpus=${SLURM_CPUS_PER_TASK:-1} name=mpirun
  if [ -n "$job" ]; then name=srun; fi
  name=${PHALANX_LAUNCHER:-$name}
  case $name in
    srun) launcher=(srun --mpi=pmix --cpus-per-task="$cpus") ;;  # srun does not take the number of CPUs from sbatch
    mpirun)
      launcher=(mpirun)
      if [ -z "$job" ]; then launcher+=(--host "${PHALANX_HOSTS:-localhost}"); fi
      if [ "$cpus" -gt 1 ]; then launcher+=(--map-by "slot:PE=$cpus"); fi
      ;;
    *) say "PHALANX_LAUNCHER: expected srun or mpirun, found '$name'"; exit 2 ;;
  esac
}

# Both launchers hand USR1 to all ranks; TERM would have them kill the ranks.
told_to_stop=no
child=
pass_on() {
  told_to_stop=yes
  kill -USR1 "$child" || true
}

drain() {
  say "the server is told to stop"
  kill -TERM "$child" || true
}

# The front end outlives its ranks, so it is no part of their step: it starts the launcher, whenever there are none.
start_server() {
  local ranks=0 place places
  if [ -n "$job" ]; then
    ranks=${SLURM_NTASKS:-${SLURM_NNODES:-1}}  # a job that says neither --ntasks nor --ntasks-per-node has a task for each node
  else
    IFS=, read -ra places <<<"${PHALANX_HOSTS:-localhost}"
    for place in "${places[@]}"; do
      if [[ $place == *:* ]]; then ranks=$((ranks + ${place##*:})); else ranks=$((ranks + 1)); fi
    done
  fi
  # A step whose host hangs does not end; the next one must not wait for its CPUs.
  if [ "${launcher[0]}" = srun ]; then launcher+=(--overlap --kill-on-bad-exit=1); fi
  "$phalanx" serve --ranks "$ranks" --launch "${launcher[*]} -n $ranks" "$@" &
}

run() {  # leaves the exit code in `code`
  code=0
  if [ "${1:-}" = serve ]; then
    start_server "${@:2}"
  else
    "${launcher[@]}" "$phalanx" "$@" &
  fi
  child=$!
  while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done  # a signal ends `wait` early
  wait "$child" || code=$?
}

has_lost_a_host() { [ "$code" -eq 5 ] || [ "$code" -eq 205 ]; }  # the codes of the program and of mpirun

may_go_on() {
  # It saved and stopped; or it was told to, where there is nothing to save; or a host was lost.
  [ "$code" -eq 6 ] && return
  [ "$told_to_stop" = yes ] && [ "$code" -ge 128 ] && return
  has_lost_a_host && [ "${SLURM_RESTART_COUNT:-0}" -lt "${PHALANX_RESTARTS:-10}" ]
}

# Slurm puts the job back by itself once it knows that a node is down. Before, it would start it on that node again.
wait_for_slurm() {
  local seconds
  seconds=$(scontrol show config | sed -n 's/^SlurmdTimeout *= \([0-9]*\) sec.*/\1/p')
  say "a host was lost; waiting for Slurm to notice"
  sleep $((${seconds:-300} + 30)) &
  wait $! || true
}

# Told by USR1, a server comes back; told by TERM it does not.
was_drained() { [ "$is_server" = yes ] && [ "$told_to_stop" = yes ] && [ "$code" -eq 0 ]; }

# Not of a job that is being cancelled: that is over for Slurm, and would come back.
requeue() {
  [ "$(squeue --noheader --jobs "$job" --format %T)" = RUNNING ] || return 0
  say "the program ended with exit code $code; job $job goes back into the queue"
  scontrol requeue "$job"
}

choose_launcher
is_server=no
trap pass_on USR1 TERM
if [ "${1:-}" = serve ]; then
  is_server=yes
  trap 'told_to_stop=yes; drain' USR1
  trap drain TERM
fi
run "$@"
if [ -n "$job" ] && { may_go_on || was_drained; }; then
  if has_lost_a_host; then wait_for_slurm; fi
  requeue
fi
exit "$code"
