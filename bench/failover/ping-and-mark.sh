#!/usr/bin/env bash
# What most routers with two lines run: connections are marked at random and routed by their mark, one ping a second by
# each line decides whether it gets new ones, and a line counts as down or up again after three pings in a row.
# (OpenWrt's mwan3 is the best known of this kind; with its own defaults it would take a minute and more.)
#
#     ping-and-mark.sh STATE_FILE TARGET      runs until SIGTERM; "isp1 up" and "isp2 down" in the file
#
# In the router of scripts/lab. Undoes what it set.
set -uo pipefail
state_file=$1 target=$2
interval=1 patience=1 down_after=3 up_after=3
names=(isp1 isp2) devices=(wan0 wan1) gateways=(203.0.113.1 198.51.100.1)
states=(up up)

begin() {
  local i
  for i in 0 1; do
    ip route replace default via "${gateways[i]}" dev "${devices[i]}" table $((101 + i))
    ip rule add pref $((1001 + i)) fwmark $((1 + i)) lookup $((101 + i))
  done
  sysctl -qw net.ipv4.conf.all.src_valid_mark=1
  publish
}

end() {
  trap '' EXIT
  local i
  for i in 0 1; do
    ip rule del pref $((1001 + i))
    ip route flush table $((101 + i))
  done
  nft delete table ip balance
  exit 0
}

# All at once, so that no packet finds half of it.
publish() {
  local i alive=()
  for i in 0 1; do [[ ${states[i]} == down ]] || alive+=($((1 + i))); done
  # With no line left, both are as good.
  ((${#alive[@]})) || alive=(1 2)
  nft -f - <<NFT
add table ip balance
delete table ip balance
table ip balance {
  chain mark_connections {
    type filter hook prerouting priority mangle;
    iifname "lan0" ct mark 0 ct mark set numgen random mod 2 map { 0: ${alive[0]}, 1: ${alive[-1]} }
    iifname "lan0" meta mark set ct mark
  }
  chain translate {
    type nat hook postrouting priority srcnat;
    oifname "wan*" masquerade
  }
}
NFT
  for i in 0 1; do echo "${names[i]} ${states[i]}"; done >"$state_file.new"
  mv "$state_file.new" "$state_file"
}

counts=(0 0)
judge() {
  local i=$1 answer=$2
  if [[ ${states[i]} == "$answer" ]]; then counts[i]=0; return 1; fi
  ((++counts[i]))
  case ${states[i]} in
    up) ((counts[i] >= down_after)) || return 1; states[i]=down ;;
    down) ((counts[i] >= up_after)) || return 1; states[i]=up
      # What a lost link took with it.
      ip route replace default via "${gateways[i]}" dev "${devices[i]}" table $((101 + i)) ;;
  esac
  counts[i]=0
}

trap end EXIT
trap 'exit 0' TERM INT HUP
begin
while sleep $interval & wait $!; do
  pings=()
  for i in 0 1; do
    ping -q -n -c 1 -W $patience -I "${devices[i]}" "$target" >/dev/null 2>&1 &
    pings+=($!)
  done
  changed=0
  for i in 0 1; do
    if wait "${pings[i]}"; then answer=up; else answer=down; fi
    ! judge "$i" $answer || changed=1
  done
  ((!changed)) || publish
done
