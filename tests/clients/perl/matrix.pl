# The transcript of Perl's DBI with DBD::mysql or DBD::MariaDB. Arguments: mysql or MariaDB, then targets as
# label:port:database. One line for each observation, name: value; an error is an observation too.
use strict;
use warnings;
use utf8;
use DBI;
use Digest::SHA qw(sha256_hex);
use Encode qw(encode_utf8);

binmode STDOUT, ':utf8';
$| = 1;
my ($driver, @targets) = @ARGV;
my $base = $ENV{CLIENT_BASE};
my $range = "where id between $base and " . ($base + 999);

sub show {
    my ($value) = @_;
    return 'NULL' unless defined $value;
    return '[' . join(', ', map { show($_) } @$value) . ']' if ref $value eq 'ARRAY';
    return length($value) . ' characters ' . substr(sha256_hex(encode_utf8($value)), 0, 16) if length $value > 500;
    $value =~ s/\n/\\n/g;
    $value =~ s/([\x00-\x1f\x7f-\xff])/sprintf('\\x%02x', ord $1)/ge;
    return $value;
}

sub say_line { my ($name, @values) = @_; print "$name: ", join(' ', map { show($_) } @values), "\n" }

sub attempt {
    my ($name, $step) = @_;
    my $value = eval { $step->() };
    if ($@) {
        my $text = $@;
        $text =~ s/ at \S+ line \d+\.?\s*$//;
        return say_line($name, 'error', $DBI::err // q(), $DBI::state // q(), $DBI::errstr // $text);
    }
    say_line($name, $value);
}

sub connect_to {
    my ($port, $database, %options) = @_;
    my $prefix = $driver eq 'mysql' ? 'mysql' : 'mariadb';
    my $dsn = "DBI:$driver:host=127.0.0.1;port=$port;database=$database" . ($options{dsn} // '');
    my %attributes = (RaiseError => 1, PrintError => 0, AutoCommit => 1);
    $attributes{mysql_enable_utf8mb4} = 1 if $driver eq 'mysql';
    return DBI->connect($dsn, $options{user} // $ENV{CLIENT_USER}, $options{password} // $ENV{CLIENT_PASSWORD}, \%attributes);
}

for my $target (@targets) {
    my ($label, $port, $database) = split /:/, $target;
    my $prefix = $driver eq 'mysql' ? 'mysql' : 'mariadb';
    print "== $label\n";
    attempt('connect plain', sub { connect_to($port, $database)->selectall_arrayref('select database(), user()') });
    attempt('connect wrong password', sub { connect_to($port, $database, password => 'no') });
    attempt('connect unknown user', sub { connect_to($port, $database, user => 'nobody') });
    attempt('connect unknown database', sub { connect_to($port, 'nowhere') });
    attempt('connect tls', sub { connect_to($port, $database, dsn => ";${prefix}_ssl=1;${prefix}_ssl_ca_file=$ENV{CLIENT_CA}")->selectall_arrayref('select 1') });
    attempt('connect compressed', sub { connect_to($port, $database, dsn => ";${prefix}_compression=1")->selectall_arrayref('select 1') });
    for my $mode (0, 1) {
        my $db = connect_to($port, $database, dsn => ";${prefix}_server_prepare=$mode");
        my $at = $mode ? 'prepared' : 'text';
        $db->do("delete from kinds $range");
        $db->do("delete from item $range");
        my $columns = 'id, t_tiny, t_utiny, t_big, t_ubig, t_float, t_double, t_decimal, t_bit, t_date, t_time6, t_datetime6, t_timestamp3, t_year, t_char, '
            . 't_varchar, t_latin, t_bin, t_varbin, t_longblob, t_longtext, t_enum, t_set, t_json';
        my $insert = $db->prepare("insert into kinds ($columns) values (" . join(', ', ('?') x 24) . ')');
        my @rows = (
            [$base, 127, 255, '9223372036854775807', '18446744073709551615', 1.5, '1.5e300', '12345678901234567890.0123456789', 1000, '2024-02-29', '-12:00:00.000001',
             '2024-02-29 23:59:58.123456', '2024-02-29 23:59:58.123', 2155, 'char é', '日本語 😀', 'café', 'bin', 'var', 'x' x 70000, 'long é😀' x 10000, 'large', 'a,c', '{"k": 1}'],
            [$base + 1, -128, 0, '-9223372036854775808', 0, -1.5, '-2.5e-300', '-0.0000000001', 0, '1000-01-01', '838:59:59', '1000-01-01 00:00:00', '2038-01-18 00:00:00.5',
             1901, '', q(it's \\ "x"), '', '', '', '', '', 'small', '', 'null'],
            [$base + 2, (undef) x 23],
        );
        for my $number (0 .. $#rows) {
            attempt("$at types insert $number", sub { $insert->execute(@{ $rows[$number] }) });
        }
        my $select = $db->prepare("select k.*, 1, 'x', null, 1.5 from kinds k where id = ?");
        for my $number (0 .. 2) {
            attempt("$at types row $number", sub { $select->execute($base + $number); $select->fetchall_arrayref });
        }
        attempt("$at types columns", sub {
            $select->execute($base);
            my $all = [map { $select->{$_} } 'NAME', 'TYPE', 'PRECISION', 'SCALE', 'NULLABLE', "${prefix}_table", "${prefix}_type", "${prefix}_length", "${prefix}_is_key", "${prefix}_is_blob"];
            $select->finish;
            [map { defined $_ ? [map { defined $_ ? "$_" : undef } @$_] : undef } @$all];
        });
        for my $own (
            ['insert into item (id, n, s) values (?, ?, ?)', $base, 1, 'a'], ['insert into item (id, n, s) values (?, ?, ?)', $base, 1, 'a'],
            ['insert into item (id, n) values (?, 2)', $base + 1], ['update item set n = n + 1 where id between ? and ?', $base, $base + 999],
            ['update item set n = n where id between ? and ?', $base, $base + 999], ['delete from item where id = ?', $base + 1], ['delete from item where id = ?', $base + 1],
            ['select nothing from item where id = ?', 1], ['select * from nowhere where id = ?', 1], ['selec ?', 1],
        ) {
            my ($text, @values) = @$own;
            attempt("$at do $text", sub { $db->do($text, undef, @values) });
        }
        attempt("$at rows", sub { $db->selectall_arrayref("select * from item $range order by id") });
        attempt("$at aggregate", sub { $db->selectall_arrayref('select count(*), sum(n) from item where id between ? and ?', undef, $base, $base + 999) });
        attempt("$at generated", sub {
            $db->do("insert into auto (owner, s) values ($base, 'x')");
            my $id = $db->last_insert_id(undef, undef, 'auto', 'id');
            $db->selectall_arrayref('select s from auto where id = ? and owner = ?', undef, $id, $base);
        });
        $db->do("delete from auto where owner = $base");
        for my $end ('rollback', 'commit') {
            $db->begin_work;
            $db->do("update item set n = 9 $range");
            $db->$end;
            attempt("$at $end", sub { $db->selectall_arrayref("select n from item $range") });
        }
        $db->{AutoCommit} = 0;
        $db->do("update item set n = 11 $range");
        $db->rollback;
        $db->{AutoCommit} = 1;
        attempt("$at autocommit", sub { $db->selectall_arrayref("select n from item $range") });
        # Prepared statements that stream make DBD::mysql hang and DBD::MariaDB lose its place, also on a plain MariaDB.
        $mode or attempt("$at stream", sub {
            my $stream = $db->prepare('select id, pad from numbers where id > ?', { "${prefix}_use_result" => 1 });
            $stream->execute(1000);
            my ($count, $sum) = (0, 0);
            while (my $row = $stream->fetchrow_arrayref) { $count++; $sum += $row->[0] + length $row->[1] }
            [$count, $sum];
        });
        attempt("$at blob", sub {
            my $body = '0123456789abcdef' x (20 << 16);
            $db->do("delete from files $range");
            $db->do('insert into files (id, body) values (?, ?)', undef, $base, $body);
            my $read = $db->selectrow_array("select body from files where id = $base");
            $db->do("delete from files $range");
            [length $read, $read eq $body ? 'equal' : 'other'];
        });
        $db->do("delete from kinds $range");
        $db->do("delete from item $range");
        next if $mode;
        attempt('ping', sub { $db->ping });
        attempt('tables', sub { [grep { /item|numbers/ } $db->tables(undef, undef, '%', undef)] });
        attempt('column info', sub { [map { [@$_[2 .. 6]] } @{ $db->column_info(undef, $database, 'item', '%')->fetchall_arrayref }] });
        attempt('primary key', sub { [$db->primary_key(undef, $database, 'item')] });
        attempt('table info', sub { [map { [@$_[2, 3]] } @{ $db->table_info(undef, undef, 'item', 'TABLE')->fetchall_arrayref }] });
        attempt('kill', sub {
            my $other = connect_to($port, $database);
            $other->do('kill ' . $db->{"${prefix}_thread_id"});
        });
        attempt('kill noticed', sub { for (1 .. 100) { $db->do('do 1'); select undef, undef, undef, 0.05 } 'alive' });
    }
}
print "== end\n";
