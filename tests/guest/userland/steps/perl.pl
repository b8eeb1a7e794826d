use strict;
use warnings;
use Math::BigInt;
use Digest::SHA qw(sha256_hex);

# Hashes, sorting, strings
my %count;
my $state = 12345;
sub rnd { $state = ($state * 1103515245 + 12345) % 2147483648; return $state >> 8; }
$count{ rnd() % 1000 }++ for 1 .. 200_000;
print join(' ', map { "$_=$count{$_}" } (sort { $count{$b} <=> $count{$a} || $a <=> $b } keys %count)[0 .. 9]), "\n";

# Regular expressions
my $text = join ' ', map { sprintf '%x-%o', rnd(), rnd() % 512 } 1 .. 20_000;
my $words = () = $text =~ /\b[a-f]+\d{2,3}(?:-\d*7)?\b/g;
(my $copy = $text) =~ s/(\d)([a-f])/$2$1/g;
print "$words ", sha256_hex($copy), "\n";

# Big numbers, in Perl itself
my $factorial = Math::BigInt->new(1);
$factorial *= $_ for 1 .. 300;
print sha256_hex("$factorial"), " ", length("$factorial"), "\n";
print Math::BigInt->new(3)->bmodpow("123456789012345678901234567890", "987654321098765432109876543211"), "\n";

# Floating point, rounded: the last digit is the library's choice
my $sum = 0;
$sum += sin($_) * sqrt($_) / log($_ + 1) for 1 .. 100_000;
printf "%.6f %.10g\n", $sum, 2**0.5;

# Processes and pipes
my $total = 0;
for my $i (1 .. 20) {
  open my $pipe, '-|', "echo $i | tr 1-9 2-9A" or die;
  chomp(my $line = <$pipe>);
  $total += hex $line;
  close $pipe or die;
}
print "$total\n";
my @pids = map { my $n = $_; my $pid = fork // die; exit($n % 7) if !$pid; $pid } 1 .. 50;
my $statuses = 0;
for (@pids) { waitpid $_, 0; $statuses += $? >> 8; }
print "$statuses\n";
