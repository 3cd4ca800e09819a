#!/bin/bash
# Runs a search on the nodes of one SLURM allocation: a Ray head on the first node, a Ray worker on each other node, and
# the search beside the head.
#
#   sbatch slurm.sh SEARCH.toml RUN_DIR [further options of `cellscout search`]
#
# RUN_DIR must be on a file system that all nodes mount. Activate the environment with cellscout before sbatch, or below.
#SBATCH --job-name=cellscout
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --exclusive
#SBATCH --time=24:00:00
# SLURM signals the search two minutes before the time limit, so that it ends in order.
#SBATCH --signal=B:TERM@120

set -euo pipefail

search_file=${1:?usage: sbatch slurm.sh SEARCH.toml RUN_DIR [options]}
run_dir=${2:?usage: sbatch slurm.sh SEARCH.toml RUN_DIR [options]}
shift 2

# Other users can reach the nodes' ports too. srun passes the token to the nodes.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

# Memory in huge pages: networks train faster on CPUs.
export GLIBC_TUNABLES=glibc.malloc.hugetlb=1

# Every job has its own ports and folders: a node may run several jobs.
port=$((20000 + SLURM_JOB_ID % 10000))
export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps-$SLURM_JOB_ID CUDA_MPS_LOG_DIRECTORY=/tmp/mps-$SLURM_JOB_ID
ray_options=(
    --block "--num-cpus=$SLURM_CPUS_PER_TASK" "--num-gpus=${SLURM_GPUS_ON_NODE:-0}"
    --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0
)

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
on() { # on NODE COMMAND...: run one task on that node
    local node=$1
    shift
    # srun does not take the number of CPUs from the allocation.
    srun --nodes=1 --ntasks=1 "--cpus-per-task=$SLURM_CPUS_PER_TASK" --overlap "--nodelist=$node" "$@"
}
start_ray() { # start_ray NODE OPTION...: with NVIDIA's MPS, trials that share a GPU compute at the same time
    # shellcheck disable=SC2016 # the node's shell expands the options
    on "$1" bash -c 'nvidia-cuda-mps-control -d > /dev/null 2>&1; exec ray start "$@"' ray "${@:2}" "${ray_options[@]}"
}
read -r head_ip _ < <(on "${nodes[0]}" hostname --ip-address)

# SLURM ends processes that do not end on this signal.
trap 'kill $(jobs -p) 2> /dev/null || true' EXIT
start_ray "${nodes[0]}" --head "--node-ip-address=$head_ip" "--port=$port" --include-dashboard=false \
    "--temp-dir=/tmp/ray-$SLURM_JOB_ID" &
head=$!
for node in "${nodes[@]:1}"; do
    # It may start before the head does; Ray retries for a while.
    start_ray "$node" "--address=$head_ip:$port" &
done

until python - "$head_ip" "$port" <<'END'; do
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5).close()
except OSError:
    sys.exit(1)
END
    kill -0 $head # fails if the head has ended, which has printed the reason
    sleep 1
done
python - "$head_ip:$port" "${#nodes[@]}" <<'END'
import logging, sys, time
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    time.sleep(1)
END

cellscout search "$search_file" --address "$head_ip:$port" --run-dir "$run_dir" "$@" &
search=$!
trap 'kill -TERM $search' TERM
status=0
wait $search || status=$?
while kill -0 $search 2> /dev/null; do # the signal ended `wait`, not the search
    status=0
    wait $search || status=$?
done
exit $status
