# The transcript of Ruby's mysql2. Arguments are targets as label:port:database. One line for each
# observation, name: value; an error is an observation too.
require 'mysql2'
require 'bigdecimal'
require 'digest'

BASE = ENV.fetch('CLIENT_BASE').to_i
RANGE = "where id between #{BASE} and #{BASE + 999}"
$stdout.sync = true

def show(value)
  case value
  when Mysql2::Error then "#{value.class} #{value.error_number} #{value.sql_state} #{value.message}"
  when Exception then "#{value.class} #{value.message}"
  when String then value.bytesize > 500 ? "#{value.bytesize} bytes #{Digest::SHA256.hexdigest(value)[0, 16]} #{value.encoding}" : "#{value.inspect} #{value.encoding}"
  when BigDecimal then "decimal #{value.to_s('F')}"
  when Time then value.strftime('%Y-%m-%d %H:%M:%S.%6N %z')
  when Array then "[#{value.map { |own| show(own) }.join(', ')}]"
  when Hash then "{#{value.map { |key, own| "#{key}: #{show(own)}" }.join(', ')}}"
  else value.inspect
  end
end

def say(name, *values)
  puts "#{name}: #{values.map { |value| show(value) }.join(' ')}".gsub("\n", '\n')
end

def attempt(name)
  say(name, yield)
rescue StandardError => e
  say(name, e)
end

def ask(client, text, **options)
  result = client.query(text, **options)
  result.nil? ? client.affected_rows : result.to_a
end

ARGV.each do |target|
  label, port, database = target.split(':')
  puts "== #{label}"
  login = { host: '127.0.0.1', port: port.to_i, username: ENV['CLIENT_USER'], password: ENV['CLIENT_PASSWORD'], database: database, encoding: 'utf8mb4', ssl_mode: :disabled }
  [['plain', {}], ['tls', { ssl_mode: :verify_ca, sslca: ENV['CLIENT_CA'] }], ['wrong password', { password: 'no' }], ['unknown user', { username: 'nobody' }],
   ['unknown database', { database: 'nowhere' }], ['init command', { init_command: "set @a = 5, time_zone = '+03:00'" }]].each do |name, more|
    attempt("connect #{name}") do
      client = Mysql2::Client.new(**login, **more)
      rows = ask(client, 'select database(), user(), @a, @@time_zone')
      client.close
      rows
    end
  end
  client = Mysql2::Client.new(**login, database_timezone: :utc, application_timezone: :utc)
  attempt('ping') { client.ping }
  attempt('select db') { client.select_db('nowhere') }
  ask(client, "delete from kinds #{RANGE}")
  pattern = (0...70_000).map { |i| (i * 31 + i / 256) % 256 }.pack('C*')
  columns = 'id, t_tiny, t_utiny, t_bool, t_big, t_ubig, t_float, t_double, t_decimal, t_date, t_datetime6, t_year, t_char, t_varchar, t_latin, t_varbin, t_longblob, t_longtext, t_enum, t_set, t_json'
  rows = [
    [BASE, 127, 255, true, 2**63 - 1, 2**64 - 1, 1.5, 1.7976931348623157e308, BigDecimal('12345678901234567890.0123456789'), Date.new(2024, 2, 29), Time.utc(2024, 2, 29, 23, 59, 58, 123_456),
     2155, 'char é', '日本語 😀', 'café', "\xC3(\x00'\\".b, pattern, 'long é😀' * 10_000, 'large', 'a,c', '{"k": 1}'],
    [BASE + 1, -128, 0, false, -(2**63), 0, -1.5, -2.5e-300, BigDecimal('-0.0000000001'), Date.new(1000, 1, 1), '1000-01-01 00:00:00', 1901, '', %q(it's \\ "x"), '', '', '', '', 'small', '', 'null'],
    [BASE + 2] + [nil] * 20
  ]
  insert = client.prepare("insert into kinds (#{columns}) values (#{(['?'] * 21).join(', ')})")
  rows.each_with_index { |row, number| attempt("types insert #{number}") { insert.execute(*row); insert.affected_rows } }
  select = client.prepare('select * from kinds where id = ?')
  3.times do |number|
    attempt("types text #{number}") { ask(client, "select k.*, 1, 'x', null, 1.5 from kinds k where id = #{BASE + number}") }
    attempt("types binary #{number}") { select.execute(BASE + number).to_a }
  end
  attempt('types fields') { result = select.execute(BASE); [result.fields, result.respond_to?(:field_types) ? result.field_types : nil] }
  ask(client, "delete from kinds #{RANGE}")
  ask(client, "delete from item #{RANGE}")
  ["insert into item (id, n, s) values (#{BASE}, 1, 'a'), (#{BASE + 1}, 2, 'é')", "select * from item #{RANGE} order by id", "update item set n = n + 1 #{RANGE}", "update item set n = n #{RANGE}",
   "insert into item (id) values (#{BASE})", 'select nothing from item', 'select * from nowhere', 'selec 1', "select cast('x' as signed)", "select count(*), sum(n), avg(n) from item #{RANGE}",
   'show create table item', 'show full fields from item', 'show keys from auto where key_name = 3', "set @@session.sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES'), @@session.sql_auto_is_null = 0, @@session.wait_timeout = 2147483",
   'select @@sql_mode, @@wait_timeout'].each do |text|
    attempt("statement #{text}") { [ask(client, text), client.warning_count, client.query_info] }
  end
  attempt('generated') do
    client.query("insert into auto (owner, s) values (#{BASE}, 'a'), (#{BASE}, 'b')")
    ask(client, "select s from auto where id = #{client.last_id} and owner = #{BASE}")
  end
  ask(client, "delete from auto where owner = #{BASE}")
  %w[rollback commit].each do |finish|
    ['begin', "update item set n = 7 #{RANGE}", 'savepoint a', "update item set n = 8 #{RANGE}", 'rollback to savepoint a', finish].each { |text| client.query(text) }
    say("transaction #{finish}", ask(client, "select sum(n) from item #{RANGE}"))
  end
  attempt('stream') { ask(client, 'select id, pad from numbers', stream: true, cache_rows: false, as: :array).sum { |row| row[0] + row[1].length } }
  attempt('stream prepared') { client.prepare('select id from numbers where id > ?').execute(2000, stream: true, cache_rows: false, as: :array).sum { |row| row[0] } }
  attempt('blob') do
    ask(client, "delete from files #{RANGE}")
    body = ('0123456789abcdef' * (20 << 16)).b
    client.prepare('insert into files (id, body) values (?, ?)').execute(BASE, body)
    read = client.query("select body from files where id = #{BASE}").first['body']
    ask(client, "delete from files #{RANGE}")
    [read.bytesize, read == body]
  end
  several = Mysql2::Client.new(**login, flags: Mysql2::Client::MULTI_STATEMENTS)
  ["select 1; select 'a;b'", 'select 1; select nothing from item; select 3'].each_with_index do |text, number|
    attempt("several #{number}") do
      all = [several.query(text).to_a]
      all << several.store_result.to_a while several.next_result
      all
    end
    several.abandon_results!
  rescue Mysql2::Error => e
    say("several #{number} abandoned", e)
  end
  several.close
  attempt('async') { client.query('select 5 as five', async: true); client.async_result.to_a }
  killer = Mysql2::Client.new(**login)
  attempt('kill') { ask(killer, "kill #{client.thread_id}") }
  attempt('kill noticed') { 100.times { client.query('do 1'); sleep 0.05 }; 'alive' }
  ask(killer, "delete from item #{RANGE}")
  killer.close
end
puts '== end'
