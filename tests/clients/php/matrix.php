<?php
// The transcript of PHP's mysqli and PDO, both over mysqlnd. Arguments: mysqli or pdo, then targets as
// label:port:database. One line for each observation, name: value; an error is an observation too.
error_reporting(E_ALL & ~E_DEPRECATED & ~E_WARNING);

$base = (int) getenv('CLIENT_BASE');
$user = getenv('CLIENT_USER');
$password = getenv('CLIENT_PASSWORD');
$authority = getenv('CLIENT_CA');
$range = "where id between $base and " . ($base + 999);
$kinds = 'id, t_tiny, t_utiny, t_bool, t_small, t_usmall, t_medium, t_umedium, t_int, t_uint, t_big, t_ubig, t_float, t_double, '
    . 't_decimal, t_udecimal, t_bit, t_bit1, t_date, t_time, t_time6, t_datetime, t_datetime6, t_timestamp, t_timestamp3, t_year, '
    . 't_char, t_varchar, t_latin, t_bin, t_varbin, t_tinyblob, t_blob, t_mediumblob, t_longblob, t_tinytext, t_text, '
    . 't_mediumtext, t_longtext, t_enum, t_set, t_json';

function show($value): string
{
    if ($value instanceof mysqli_sql_exception) {
        return "error {$value->getCode()} {$value->getSqlState()} {$value->getMessage()}";
    }
    if ($value instanceof PDOException) {
        return 'error ' . json_encode($value->errorInfo) . ' ' . $value->getMessage();
    }
    if ($value instanceof Throwable) {
        return get_class($value) . ' ' . $value->getMessage();
    }
    if (is_string($value)) {
        if (strlen($value) > 500) {
            return strlen($value) . ' bytes ' . substr(hash('sha256', $value), 0, 16);
        }
        return preg_match('//u', $value) ? json_encode($value, JSON_UNESCAPED_UNICODE) : 'x' . bin2hex($value);
    }
    if (is_array($value)) {
        $all = [];
        foreach ($value as $key => $own) {
            $all[] = (is_int($key) ? '' : "$key: ") . show($own);
        }
        return '[' . implode(', ', $all) . ']';
    }
    return var_export($value, true);
}

function say(string $name, ...$values): void
{
    echo str_replace("\n", '\n', "$name: " . implode(' ', array_map('show', $values))), "\n";
}

function attempt(string $name, callable $step): void
{
    try {
        say($name, $step());
    } catch (Throwable $problem) {
        say($name, $problem);
    }
}

function rows(int $base): array
{
    $pattern = '';
    for ($i = 0; $i < 70000; $i++) {
        $pattern .= chr(($i * 31 + intdiv($i, 256)) % 256);
    }
    return [
        [$base, 127, 255, true, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, PHP_INT_MAX, '18446744073709551615', 1.5,
            1.7976931348623157e308, '12345678901234567890.0123456789', '9999999999', "\x0a\xbc\xde", "\x01", '2024-02-29', '838:59:59',
            '-12:00:00.000001', '2024-02-29 23:59:58', '2024-02-29 23:59:58.123456', '2024-02-29 23:59:58', '2024-02-29 23:59:58.123', 2155,
            'char é', '日本語 😀', 'café', "\x01\x00\xff", "\xc3(\x00'\\", substr($pattern, 0, 255), substr($pattern, 0, 1000), $pattern,
            $pattern, 'tiny', 'it\'s \\ "x" ?', 'medium', str_repeat('long é😀', 20000), 'large', 'a,c', '{"k": [1, null]}'],
        [$base + 1, -128, 0, false, -32768, 0, -8388608, 0, -2147483648, 0, PHP_INT_MIN, 0, -1.5, -2.5e-300, '-0.0000000001', 0, "\x00",
            "\x00", '1000-01-01', '-838:59:59', '00:00:00', '1000-01-01 00:00:00', '9999-12-31 23:59:59.999999', '1970-01-02 00:00:01',
            '2038-01-18 00:00:00.5', 1901, '', '', '', '', '', '', '', '', '', '', '', '', '', 'small', '', 'null'],
        array_merge([$base + 2], array_fill(0, 41, null)),
    ];
}

function mysqli_all(int $port, string $database): void
{
    global $base, $user, $password, $authority, $range, $kinds;
    mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
    $open = fn ($as = null, $with = null, $to = null) => new mysqli('127.0.0.1', $as ?? $user, $with ?? $password, $to ?? $database, $port);
    $ask = function (mysqli $connection, string $text) {
        $result = $connection->query($text);
        return $result === true ? [$connection->affected_rows, $connection->info] : $result->fetch_all();
    };
    foreach ([['plain'], ['wrong password', null, 'no'], ['no password', null, ''], ['unknown user', 'nobody'], ['unknown database', null, null, 'nowhere']] as $login) {
        attempt("connect $login[0]", function () use ($open, $ask, $login) {
            $connection = $open(...array_slice($login, 1));
            return [$ask($connection, 'select database(), user(), @@character_set_client'), $connection->protocol_version, $connection->get_charset()->charset];
        });
    }
    attempt('connect tls', function () use ($authority, $user, $password, $database, $port, $ask) {
        $connection = mysqli_init();
        $connection->ssl_set(null, null, $authority, null, null);
        $connection->real_connect('127.0.0.1', $user, $password, $database, $port, null, MYSQLI_CLIENT_SSL);
        return $ask($connection, 'select 1');
    });
    attempt('connect compressed', function () use ($user, $password, $database, $port, $ask) {
        $connection = mysqli_init();
        $connection->real_connect('127.0.0.1', $user, $password, $database, $port, null, MYSQLI_CLIENT_COMPRESS);
        return $ask($connection, "select repeat('x', 1000)");
    });
    $connection = $open();
    attempt('stat', fn () => str_contains($connection->stat(), 'Uptime'));
    attempt('select db', fn () => $connection->select_db('nowhere'));
    attempt('charset', fn () => [$connection->set_charset('latin1'), $ask($connection, "select 'x', @@character_set_results"), $connection->set_charset('utf8mb4')]);
    attempt('change user', fn () => [$connection->change_user($user, $password, $database), $ask($connection, 'select database()')]);
    $ask($connection, "delete from kinds $range");
    $insert = $connection->prepare("insert into kinds ($kinds) values (" . implode(', ', array_fill(0, 42, '?')) . ')');
    foreach (rows($base) as $number => $row) {
        attempt("types insert $number", fn () => [$insert->execute(array_map(fn ($own) => is_bool($own) ? (int) $own : $own, $row)), $insert->affected_rows]);
    }
    $select = $connection->prepare("select k.*, 1, 'x', null, 1.5 from kinds k where id = ?");
    foreach (['binary', 'text'] as $mode) {
        for ($number = 0; $number < 3; $number++) {
            if ($mode === 'binary') {
                $select->execute([$base + $number]);
                $result = $select->get_result();
            } else {
                $result = $connection->query("select k.*, 1, 'x', null, 1.5 from kinds k where id = " . ($base + $number));
            }
            if ($number === 0) {
                foreach ($result->fetch_fields() as $field) {
                    say("types $mode column $field->name", [$field->orgname, $field->table, $field->orgtable, $field->db, $field->length, $field->charsetnr, $field->flags, $field->type, $field->decimals]);
                }
            }
            foreach ($result->fetch_assoc() ?? [] as $name => $value) {
                say("types $mode row $number $name", $value);
            }
        }
    }
    $ask($connection, "delete from kinds $range");
    $ask($connection, "delete from item $range");
    foreach ([
        "insert into item (id, n, s) values ($base, 1, 'a'), (" . ($base + 1) . ", 2, 'é')", "select * from item $range order by id", "update item set n = n + 1 $range",
        "update item set n = n $range", "insert into item (id) values ($base)", 'select nothing from item', 'select * from nowhere', 'selec 1', "select cast('x' as signed)",
        'show warnings', "replace into item (id) values ($base)", 'show create table item', 'show columns from item', "select count(*), sum(n) from item $range",
    ] as $text) {
        attempt("statement $text", fn () => $ask($connection, $text));
    }
    attempt('generated', function () use ($connection, $ask, $base) {
        $connection->query("insert into auto (owner, s) values ($base, 'a'), ($base, 'b')");
        return $ask($connection, "select s from auto where id = $connection->insert_id and owner = $base");
    });
    $ask($connection, "delete from auto where owner = $base");
    attempt('prepared again', function () use ($connection, $base) {
        $select = $connection->prepare('select n, s from item where id = ?');
        $all = [];
        foreach ([$base, (string) ($base + 1), null, $base + 0.5, $base + 1] as $value) {
            $select->execute([$value]);
            $all[] = $select->get_result()->fetch_all();
        }
        return $all;
    });
    attempt('prepared error', fn () => $connection->prepare('select nothing from item where id = ?'));
    attempt('prepared table', fn () => $connection->prepare('select * from nowhere where id = ?'));
    attempt('blob', function () use ($connection, $ask, $base, $range) {
        $ask($connection, "delete from files $range");
        $body = str_repeat('0123456789abcdef', 20 << 16);
        $insert = $connection->prepare('insert into files (id, body) values (?, ?)');
        $null = null;
        $insert->bind_param('ib', $base, $null);
        foreach (str_split($body, 1 << 20) as $piece) {
            $insert->send_long_data(1, $piece);
        }
        $insert->execute();
        $read = $connection->query("select body from files where id = $base")->fetch_row()[0];
        $ask($connection, "delete from files $range");
        return [$insert->affected_rows, $read];
    });
    foreach (['rollback', 'commit'] as $end) {
        $connection->begin_transaction();
        $ask($connection, "update item set n = 7 $range");
        $connection->savepoint('a');
        $ask($connection, "update item set n = 8 $range");
        $ask($connection, 'rollback to savepoint a');
        $connection->$end();
        say("transaction $end", $ask($connection, "select sum(n) from item $range"));
    }
    $connection->autocommit(false);
    $ask($connection, "update item set n = 9 $range");
    $connection->rollback();
    $connection->autocommit(true);
    say('autocommit', $ask($connection, "select sum(n) from item $range"));
    attempt('unbuffered', function () use ($connection) {
        $result = $connection->query('select id, pad from numbers', MYSQLI_USE_RESULT);
        [$count, $sum] = [0, 0];
        while ($row = $result->fetch_row()) {
            $count++;
            $sum += $row[0] + strlen($row[1]);
        }
        return [$count, $sum];
    });
    attempt('cursor', function () use ($connection) {
        $select = $connection->prepare('select id from numbers where id > ?');
        $select->attr_set(MYSQLI_STMT_ATTR_CURSOR_TYPE, MYSQLI_CURSOR_TYPE_READ_ONLY);
        $above = 2900;
        $select->bind_param('i', $above);
        $select->execute();
        $select->bind_result($id);
        $sum = 0;
        while ($select->fetch()) {
            $sum += $id;
        }
        return $sum;
    });
    foreach (["select 1; select 'a;b', 2; ", "select 1; select nothing from item; select 3", "update item set n = 1 $range; select count(*) from item $range"] as $number => $text) {
        attempt("several $number", function () use ($connection, $text) {
            $all = [];
            try {
                $connection->multi_query($text);
                do {
                    $result = $connection->store_result();
                    $all[] = $result ? $result->fetch_all() : $connection->affected_rows;
                } while ($connection->next_result());
            } catch (mysqli_sql_exception $problem) {
                $all[] = $problem;
            }
            return $all;
        });
    }
    attempt('async', function () use ($connection) {
        $connection->query('select 5', MYSQLI_ASYNC);
        return $connection->reap_async_query()->fetch_all();
    });
    $killer = $open();
    attempt('kill', fn () => $ask($killer, "kill $connection->thread_id"));
    attempt('kill noticed', function () use ($connection, $ask) {
        for ($i = 0; $i < 100; $i++) {
            $ask($connection, 'select 1');
            usleep(50000);
        }
        return 'alive';
    });
    $ask($killer, "delete from item $range");
    attempt('ping', fn () => $killer->ping());
}

function pdo_all(int $port, string $database): void
{
    global $base, $user, $password, $authority, $range, $kinds;
    foreach (['emulated' => true, 'prepared' => false] as $mode => $emulate) {
        $options = [PDO::ATTR_EMULATE_PREPARES => $emulate, PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_STRINGIFY_FETCHES => false];
        $open = fn ($as = null, $with = null, $to = null, $more = []) =>
            new PDO("mysql:host=127.0.0.1;port=$port;dbname=" . ($to ?? $database) . ';charset=utf8mb4', $as ?? $user, $with ?? $password, $more + $options);
        $ask = function (PDO $connection, string $text, array $values = []) {
            $statement = $connection->prepare($text);
            $statement->execute($values);
            return $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_NUM) : $statement->rowCount();
        };
        attempt("$mode connect wrong password", fn () => $open(null, 'no'));
        attempt("$mode connect unknown database", fn () => $open(null, null, 'nowhere'));
        attempt("$mode connect tls", fn () => $ask($open(null, null, null, [PDO::MYSQL_ATTR_SSL_CA => $authority]), 'select 1'));
        attempt("$mode connect persistent", fn () => $ask($open(null, null, null, [PDO::ATTR_PERSISTENT => true]), 'select database()'));
        $connection = $open();
        attempt("$mode server info", fn () => str_contains($connection->getAttribute(PDO::ATTR_SERVER_INFO), 'Uptime'));
        $ask($connection, "delete from kinds $range");
        $ask($connection, "delete from item $range");
        foreach (rows($base) as $number => $row) {
            attempt("$mode types insert $number", fn () => $ask($connection, "insert into kinds ($kinds) values (" . implode(', ', array_fill(0, 42, '?')) . ')', array_map(fn ($own) => is_bool($own) ? (int) $own : $own, $row)));
            attempt("$mode types row $number", fn () => $ask($connection, 'select * from kinds where id = ?', [$base + $number]));
        }
        $statement = $connection->query("select k.*, 1, 'x', null, 1.5 from kinds k where id = $base");
        for ($column = 0; $column < $statement->columnCount(); $column++) {
            say("$mode types column $column", $statement->getColumnMeta($column));
        }
        $statement->closeCursor();
        foreach ([
            ['insert into item (id, n, s) values (?, ?, ?)', [$base, 1, 'a']], ['insert into item (id, n, s) values (?, ?, ?)', [$base, 1, 'a']],
            ['select * from item where id = ?', [$base]], ['select * from item where id = ?', [(string) $base]], ['select * from item where id = ?', [null]],
            ['update item set n = n + ? where id = ?', [5, $base]], ['update item set n = n + ? where id = ?', [0, $base]], ['select nothing from item where id = ?', [$base]],
            ['select * from nowhere where id = ?', [$base]], ['selec ?', [1]], ['select count(*), sum(n) from item where id between ? and ?', [$base, $base + 999]],
        ] as $number => [$text, $values]) {
            attempt("$mode statement $number $text", fn () => $ask($connection, $text, $values));
        }
        $ask($connection, 'insert into auto (owner, s) values (?, ?)', [$base, 'x']);
        attempt("$mode generated", fn () => $ask($connection, 'select s from auto where id = ? and owner = ?', [(int) $connection->lastInsertId(), $base]));
        $ask($connection, 'delete from auto where owner = ?', [$base]);
        foreach (['rollBack', 'commit'] as $end) {
            $connection->beginTransaction();
            $ask($connection, "update item set n = 9 $range");
            $connection->$end();
            say("$mode transaction $end", $ask($connection, "select n from item $range"));
        }
        attempt("$mode named", function () use ($connection, $base) {
            $statement = $connection->prepare('select n, :text as t from item where id = :id');
            $statement->bindValue('id', $base, PDO::PARAM_INT);
            $statement->bindValue('text', "it's \\ é😀");
            $statement->execute();
            return $statement->fetchAll(PDO::FETCH_ASSOC);
        });
        attempt("$mode several", function () use ($connection) {
            $statement = $connection->query("select 1; select 'a;b'");
            $all = [$statement->fetchAll(PDO::FETCH_NUM)];
            while ($statement->nextRowset()) {
                $all[] = $statement->fetchAll(PDO::FETCH_NUM);
            }
            return $all;
        });
        $connection->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
        attempt("$mode unbuffered", function () use ($connection) {
            $sum = 0;
            foreach ($connection->query('select id from numbers') as $row) {
                $sum += $row[0];
            }
            return $sum;
        });
        $connection->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, true);
        $ask($connection, "delete from kinds $range");
        $ask($connection, "delete from item $range");
    }
}

foreach (array_slice($argv, 2) as $target) {
    [$label, $port, $database] = explode(':', $target);
    echo "== $label\n";
    attempt("part $argv[1]", fn () => $argv[1] === 'pdo' ? pdo_all((int) $port, $database) : mysqli_all((int) $port, $database));
}
echo "== end\n";
