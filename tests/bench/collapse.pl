#!/usr/bin/perl
# The peer of our reader: collapses the text of perf script into "comm;root;..;leaf count", as the common stack collapsers do.
use strict;
use warnings;

my (%folded, $comm, @frames);
while (my $line = <STDIN>) {
    if ($line =~ /^\s*$/) {
        $folded{join(";", $comm, @frames)}++ if defined $comm;
        ($comm, @frames) = ();
    }
    elsif ($line =~ /^\s+([0-9a-fA-F]+)\s+(.+?)(?:\+0x[0-9a-f]+)?\s+\(([^)]*)\)/) {
        my ($name, $file) = ($2, $3);
        $name = "[$file]" if $name eq "[unknown]";
        $name =~ tr/;/:/;
        unshift @frames, $name;
    }
    elsif ($line =~ /^(\S.*?)\s+(\d+)\/?(\d+)?\s+/) {
        $comm = $1;
        $comm =~ tr/ /_/;
    }
}
$folded{join(";", $comm, @frames)}++ if defined $comm;
print "$_ $folded{$_}\n" for sort keys %folded;
