# SPDX-License-Identifier: GPL-2.0-only
#
# What the figures shall be. Those that a run does not have are left out.

def median($all; $benchmark; $variant; $x):
	[$all[] | select(.benchmark == $benchmark and .variant == $variant
		and (.x == $x or $x == null)) | .median // empty][0];

def short: if . >= 1000 then round else . * 100 | round / 100 end | tostring;

# At most, or at least, $limit; and a row says so.
def at_most($what; $is; $limit):
	if $is == null or $limit == null then empty
	else [$what, ($is | short), "<= \($limit | short)", if $is <= $limit then "ok" else "MISSED" end]
	end;
def at_least($what; $is; $limit):
	if $is == null or $limit == null then empty
	else [$what, ($is | short), ">= \($limit | short)", if $is >= $limit then "ok" else "MISSED" end]
	end;
def ratio($a; $b): if $a == null or $b == null then null else $a / $b end;

def latency($all; $variant; $mib): median($all; "latency"; $variant; $mib);
def linux($all; $variant; $mib): median($all; "linux-fork"; $variant; $mib);
def write($all; $how): median($all; "parent-write"; $how; null);
def fault($all; $how): median($all; "fault"; $how; null);
def sizes: 16, 64, 256, 1024, 4096;

def flat($all; $variant):
	[sizes as $mib | latency($all; $variant; $mib) // empty]
	| if length < 2 then empty
	  else at_most("\($variant): largest to smallest over all memory sizes"; max / min; 1.05) end;

def latencies($all):
	(sizes as $mib
		| at_most("fork, \($mib) MiB"; latency($all; "fork"; $mib); 800)),
	at_most("fork, 256 MiB, against userspace"; latency($all; "fork"; 256);
		latency($all; "userspace, live parent"; 256)),
	flat($all; "fork"),
	flat($all; "shell, recycled, live parent"),
	(("shell, new, live parent", "shell, recycled, live parent") as $v
		| at_most("\($v), 256 MiB"; latency($all; $v; 256); 200)),
	at_least("Linux fork() over fork, 256 MiB";
		ratio(linux($all; "fork(), 4 KiB pages"; 256); latency($all; "fork"; 256)); 10),
	at_least("Linux fork() over fork, 4096 MiB";
		ratio(linux($all; "fork(), 4 KiB pages"; 4096); latency($all; "fork"; 4096)); 100),
	((256, 1024, 4096) as $mib
		| at_most("shell, new, live parent, \($mib) MiB, against Linux fork(), THP";
			latency($all; "shell, new, live parent"; $mib); linux($all; "fork(), THP"; $mib))),
	at_least("userspace over fork, live parent, 256 MiB";
		ratio(latency($all; "userspace, live parent"; 256); latency($all; "fork"; 256)); 50),
	at_most("spawn, 256 MiB, against userspace, dead template"; latency($all; "spawn"; 256);
		latency($all; "userspace"; 256)),
	at_least("userspace, dead template, over new shell, 256 MiB";
		ratio(latency($all; "userspace"; 256); latency($all; "shell, new"; 256)); 3);

def process($all; $variant; $mib): median($all; "process"; $variant; $mib);
def boot($all; $variant; $mib): median($all; "boot"; $variant; $mib);
def asleep($all; $benchmark; $variant; $x):
	[$all[] | select(.benchmark == $benchmark and .variant == $variant and .x == $x)
		| .asleep_median // empty][0];

def processes($all):
	((16, 64, 256, 1024) as $mib
		| at_most("spawn into a process, \($mib) MiB";
			process($all; "spawn into a process"; $mib); 1300)),
	((16, 64, 256, 1024) as $mib
		| at_most("waiting process, \($mib) MiB"; process($all; "waiting process"; $mib); 300)),
	at_most("waiting process, 64 MiB, asleep";
		asleep($all; "process"; "waiting process"; 64); 0),
	(("ukrun", "ukrun --shells") as $v
		| at_most("\($v), a process each, the last 100 of 1,000 clones to the first";
			ratio(median($all; "clones-latency"; $v; 1000);
			      median($all; "clones-latency"; $v; 100)); 1.2),
		  at_most("\($v), a process each, KiB per idle clone, 1,000 of them";
			median($all; "clones-memory"; $v; 1000); 512));

# Peers of the same memory, which shall take longer.
def boots($all):
	(64, 256) as $mib
	| ("ukrun, to its first word", "QEMU, -incoming the file, to its first word") as $peer
	| at_least("\($peer), over spawn into a process, \($mib) MiB";
		ratio(boot($all; $peer; $mib); process($all; "spawn into a process"; $mib)); 1),
	  at_least("\($peer), over waiting process, \($mib) MiB";
		ratio(boot($all; $peer; $mib); process($all; "waiting process"; $mib)); 1);

# Against QEMU's leanest machine.
def devices($all):
	at_most("boot to the guest's first word, 64 MiB, ukrun to QEMU";
		ratio(boot($all; "ukrun, to its first word"; 64);
		      boot($all; "QEMU, to its first word"; 64)); 1),
	at_most("Linux to its root file system, ukrun to QEMU";
		ratio(median($all; "linux-boot"; "ukrun"; null);
		      median($all; "linux-boot"; "QEMU microvm"; null)); 1),
	(("read", "write") as $what | ("64", "4") as $size
		| at_most("disk: \($what), \($size) KiB at once, ukrun to QEMU";
			ratio(median($all; "disk"; "ukrun: \($what), \($size) KiB at once"; null);
			      median($all; "disk"; "QEMU microvm: \($what), \($size) KiB at once"; null)); 1)),
	(("small", "large") as $what
		| at_most("http: a \($what) page, ukrun to QEMU";
			ratio(median($all; "http"; "ukrun: a \($what) page"; null);
			      median($all; "http"; "QEMU microvm: a \($what) page"; null)); 1));

def slopes($all):
	(("fork", "shell, recycled, live parent") as $how
		| at_most("\($how), per dirty page, of huge pages";
			median($all; "dirty-slope"; "\($how), of huge pages"; null); 0.05)),
	(("adjacent", "scattered") as $where
	| (("fork", "shell, recycled, live parent") as $how
		| at_most("\($how), per dirty page, \($where)";
			median($all; "dirty-slope"; "\($how), \($where)"; null); 0.5)),
	  (("", ", kept") as $kept
		| at_most("reset, nothing dirty, \($where)\($kept)";
			median($all; "reset"; "reset, \($where)\($kept)"; 0); 60),
		  at_most("reset, per dirty page, \($where)\($kept)";
			median($all; "reset-slope"; "reset, \($where)\($kept)"; null); 1)));

def faults($all):
	at_most("parent writes, child alive, against Linux, by the process";
		write($all; "child alive: kvmfork, process");
		write($all; "child alive: Linux fork(), process")),
	at_most("parent writes, child alive, against Linux, by the guest";
		write($all; "child alive: kvmfork, guest");
		write($all; "child alive: Linux fork(), guest")),
	(("read", "copy", "copy after read") as $how | ("1", "1000") as $depth
		| at_most("\($how), depth \($depth), to anonymous memory after fork()";
			ratio(fault($all; "\($how): kvmfork, depth \($depth)");
			      fault($all; "\($how): anonymous memory after fork()")); 1.2)),
	(("read", "copy", "copy after read") as $how
		| at_most("\($how), huge pages, to anonymous memory after fork()";
			ratio(fault($all; "\($how): kvmfork, huge pages");
			      fault($all; "\($how): anonymous memory after fork()")); 1.2));

def targets($all):
	latencies($all),
	processes($all),
	boots($all),
	devices($all),
	slopes($all),
	at_least("clones in a row, recycled to created";
		median($all; "turnover-ratio"; "shell, recycled"; null); 20),
	(("fork", "spawn", "shell, recycled, live parent", "shell, recycled") as $v
		| at_most("\($v), 4 vCPUs to 1"; median($all; "vcpus-ratio"; $v; null); 2)),
	faults($all),
	(("fork", "spawn") as $v
		| at_most("\($v), KiB per idle clone, 1,000 of them";
			median($all; "clones-memory"; $v; 1000); 256));
