# Counts the words of the text and takes it apart by regular expressions.
use strict;
use warnings;

my (%count, %length);
my ($functions, $strings) = (0, 0);
open my $file, '<', 'text' or die "text: $!";
while (my $line = <$file>) {
  $functions++ if $line =~ /^\s*def\s+(\w+)\s*\(([^)]*)\)/;
  $strings++ while $line =~ /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g;
  for my $word (split /\W+/, $line) {
    next unless length $word;
    $count{lc $word}++;
    $length{length $word} += 1;
  }
}
my @most = (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 9];
print join(' ', map { "$_=$count{$_}" } @most), "\n";
print join(' ', map { "$_:$length{$_}" } sort { $a <=> $b } keys %length), "\n$functions $strings\n";
